"""Tables in and out of files: names, order and dtypes kept, and what is not a table of numbers named with its place."""

import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ddpm import table_files

pd = pytest.importorskip("pandas")
pa = pytest.importorskip("pyarrow")

SUFFIXES = (".csv", ".parquet", ".npy")


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def refused(path: Path, *arguments: object) -> str:
    """What the error says, but for the name of the file."""
    with pytest.raises(ValueError, match=path.name) as raised:
        table_files.read(path, *arguments)  # type: ignore[arg-type]
    said = str(raised.value)
    assert said.startswith(str(path))
    return said.removeprefix(str(path)).removeprefix(": ").removeprefix(", ")


# ---- what is read


@pytest.mark.parametrize(
    "text",
    [
        "1,2\n3,4\n",
        "1,2\r\n3,4",
        "x,y\n1,2\n3,4\n",
        "\ufeffx,y\n1,2\n3,4\n",  # as spreadsheets save it
        "\n\nx,y\n1,2\n\n3,4\n\n",
        '"x, first",y\n 1 ,2\n\n3e0,"4"\n\n',
        "x;y\n1;2\n3;4\n",
        "x\ty\n+1\t2.\n3\t4\n",
        "NA,K\n1,2\n3,4\n",  # sodium and potassium
    ],
)
def test_csv_with_and_without_names(tmp_path: Path, text: str) -> None:
    found = table_files.read(written(tmp_path / "x.csv", text))
    assert np.array_equal(found.to_numpy(), [[1, 2], [3, 4]])


def test_columns_have_the_names_and_dtypes_of_the_file(tmp_path: Path) -> None:
    found = table_files.read(written(tmp_path / "x.csv", "b,a, c \n1,0.5,true\n2,1,false\n"))
    assert {name: str(dtype) for name, dtype in found.dtypes.items()} == {"b": "int64", "a": "float64", "c": "bool"}
    assert list(table_files.read(written(tmp_path / "x.csv", "1,2\n3,4\n")).columns) == [0, 1]


def test_a_column_of_whole_numbers_with_a_fraction_far_below(tmp_path: Path) -> None:
    # pyarrow guesses from the first megabyte
    lines = [f"{i},{i},left" for i in range(150_000)]
    path = written(tmp_path / "x.csv", "\n".join(["x,n,side", *lines, "0.5,7,right"]))
    found = table_files.read(path, "side")
    assert [dtype.kind for dtype in found.dtypes[:2]] == ["f", "i"]
    assert found.iloc[-1].to_list() == [0.5, 7, "right"]
    path.write_text(path.read_text() + "\n1,cat,left")
    assert refused(path, "side") == (
        "line 150003, column 'n': 'cat' is not a number: leave its column out, or name it as the target"
    )


def test_some_columns_and_a_target(tmp_path: Path) -> None:
    path = written(tmp_path / "x.csv", "a,note,b,kind\n1,x,2,u\n3,y,4,v\n")
    found = table_files.read(path, "kind", ["b", "a"])
    assert list(found.columns) == ["b", "a", "kind"]
    x, y = table_files.split(found, "kind")
    assert x.to_numpy().tolist() == [[2, 1], [4, 3]]
    assert list(y) == ["u", "v"]
    assert refused(path, None, ["c"]) == "has no column 'c'; its columns are a, note, b, kind"
    assert refused(path, "c").startswith("has no column 'c'")
    assert "'x' is not a number" in refused(path, "kind")


def test_a_target_of_a_file_without_names(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(6).reshape(2, 3))
    for path in (tmp_path / "x.npy", written(tmp_path / "x.csv", "0,1,2\n3,4,5\n")):
        x, y = table_files.split(table_files.read(path, "1"), "1")
        assert np.asarray(x).tolist() == [[0, 2], [3, 5]]
        assert list(y) == [1, 4]
        assert "has no column '3'; its columns are 0, 1, 2" in refused(path, "3")


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "i8", "u1", ">f8", "?"])
@pytest.mark.parametrize("shape", [(1,), (5,), (1, 1), (5, 3)])
def test_npy_is_mapped(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    stored = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    np.save(tmp_path / "x.npy", stored)
    found = table_files.read(tmp_path / "x.npy")
    assert isinstance(found, np.memmap)
    assert found.dtype == stored.dtype
    assert found.shape == (shape[0], 1 if len(shape) == 1 else shape[1])
    assert np.array_equal(found.ravel(), stored.ravel())


def test_what_was_read_is_said(tmp_path: Path) -> None:
    path = written(tmp_path / "x.csv", ",".join(f"c{i}" for i in range(9)) + "\n" + ",".join("123456789") + "\n")
    found = table_files.read(path)
    said = table_files.described("x.csv", len(found), table_files.names_of(found))
    assert said == "x.csv: 1 rows, 9 columns (c0, c1, c2, c3, c4, c5, ...)"
    np.save(tmp_path / "x.npy", np.zeros(3))
    said = table_files.described("x.npy", *table_files.parts_of(tmp_path / "x.npy")[:2])
    assert said == "x.npy: 3 rows, 1 column (without names)"


# ---- what comes back


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_frame_comes_back(tmp_path: Path, suffix: str) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "z": rng.standard_normal(100) * 10.0 ** rng.integers(-300, 300, 100),
            "a, b": rng.integers(-(2**62), 2**62, 100),
            "flag": rng.random(100) < 0.5,
            "größe": rng.standard_normal(100).round(2),
        }
    )
    table_files.write(tmp_path / f"x{suffix}", frame)
    pd.testing.assert_frame_equal(table_files.read(tmp_path / f"x{suffix}"), frame)
    assert [path.name for path in tmp_path.iterdir()] == [f"x{suffix}"]


@pytest.mark.parametrize("dtype", ["float32", "int8", "uint64", "float16"])
def test_parquet_keeps_narrow_dtypes(tmp_path: Path, dtype: str) -> None:
    frame = pd.DataFrame({"x": np.arange(3).astype(dtype)})
    table_files.write(tmp_path / "x.parquet", frame)
    pd.testing.assert_frame_equal(table_files.read(tmp_path / "x.parquet"), frame)


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".CSV", ".NPY"])
@pytest.mark.parametrize("shape", [(1, 1), (1000, 1), (100, 7)])
def test_an_array_comes_back_bit_for_bit(tmp_path: Path, suffix: str, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    array = (rng.standard_normal(shape) * 10.0 ** rng.integers(-30, 30, shape)).astype(np.float32)
    table_files.write(tmp_path / f"x{suffix}", array)
    assert np.array_equal(np.asarray(table_files.read(tmp_path / f"x{suffix}")).astype(np.float32), array)


def test_text_does_not_fit_into_npy(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a \.npy file holds numbers alone, and the table has text"):
        table_files.write(tmp_path / "x.npy", pd.DataFrame({"x": [1.0], "kind": ["a"]}))
    assert not list(tmp_path.iterdir())


# ---- what is refused


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("x,y\n", "has no rows, but names of columns"),
        ("x,y\n1,2\n3,cat\n", "line 3, column 'y': 'cat' is not a number: leave its column out, or"),
        ("x,1\n1,2\n", "line 1, column '0': 'x' is not a number"),
        ("x,y\nu,v\n1,2\n", "line 2, column 'x': 'u' is not a number"),
        ("1,2\n3\n", "line 2: has 1 fields, but the first row 2"),
        ("x,y\n1,2,3\n", "line 2: has 3 fields, but the first row 2: is a comma that of a decimal?"),
        ("x\n1,5\n2,5\n", "line 2: has 2 fields, but the first row 1: is a comma that of a decimal?"),
        ("x;y\n1,5;2\n", "line 2, column 'x': '1,5' is not a number: write a decimal point, not a comma"),
        ('x,y\n"1,5",2\n', "line 2, column 'x': '1,5' is not a number: write a decimal point, not a comma"),
        ('x,y\n"1,234",2\n', "line 2, column 'x': '1,234' is not a number: write thousands without separators"),
        ("x\n1'000\n", "line 2, column 'x': \"1'000\" is not a number: write thousands without separators"),
        ("x\n1 000\n", "line 2, column 'x': '1 000' is not a number: write thousands without separators"),
        ("x\n2019-01-05\n", "line 2, column 'x': '2019-01-05' is not a number: write a date as a number"),
        ("x\n5.1.2019\n", "line 2, column 'x': '5.1.2019' is not a number: write a date as a number"),
        ("x\n12:30\n", "line 2, column 'x': '12:30' is not a number: write a time as a number"),
        ("x\n12%\n", "line 2, column 'x': '12%' is not a number: write the number alone"),
        ("x\n2019_20\n", "line 2, column 'x': '2019_20' is not a number"),
        ("x\n\u0661\u0662\n", "line 2, column 'x': '\u0661\u0662' is not a number: write it with the digits 0 to 9"),
        ("1,2\n\n3,\n", "line 3, column '1': is missing: leave the row out, or fill it in"),
        ("1,nan\n", "line 1, column '1': 'nan' is missing"),
        ("x,y\n1,2\nNULL,3\n", "line 3, column 'x': 'NULL' is missing"),
        ("NA\n1\n2\n", "line 1: 'NA' is a missing number, or looks like one: take another name"),
        (",a\n0,1\n", "line 1, column 1: has no name"),
        ("x,y,\n1,2,\n", "line 1, column 3: has no name"),
        ("x, x\n1,2\n", "line 1: two columns have the name 'x'"),
        ("1\n-inf\n", "line 2, column '0': -inf is not a finite number"),
        ("x\n\n1\n1e309\n", "line 4, column 'x': inf is not a finite number"),
        ('x,y\n1,"2\n3,4\n', "line 3, column 'y': '2\\n3,4\\n' is not a number"),
    ],
)
def test_csv_errors_name_line_column_and_remedy(tmp_path: Path, text: str, said: str) -> None:
    assert refused(written(tmp_path / "x.csv", text)).startswith(said)


@pytest.mark.parametrize("content", [b"1,2\n\xff\xfe,3\n", b"x,y\n1,caf\xe9\n", b"1,2\n3,\xe9\n"])
def test_csv_that_is_not_utf8(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.csv").write_bytes(content)
    assert refused(tmp_path / "x.csv") == "line 2: is not text in UTF-8: save the file as UTF-8"
    (tmp_path / "x.csv").write_bytes("x,y\n1,2\n".encode("utf-16"))
    assert refused(tmp_path / "x.csv") == "line 1: is not text in UTF-8: save the file as UTF-8"


def test_missing_classes_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "x.csv", "x,kind\n1,a\n2,\n")
    assert refused(path, "kind") == "line 3, column 'kind': is missing: leave the row out, or fill it in"


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"x": [1.0, None]}, "row 1 (from 0), column 'x': is missing"),
        ({"x": [1.0, float("inf")]}, "row 1 (from 0), column 'x': inf is not a finite number"),
        ({"x": ["a", "b"]}, "column 'x' holds string, not numbers: leave it out, or name it as the target"),
        ({"x": [[1.0], [2.0]]}, "column 'x' holds list<element: double>, not numbers"),
        ({"x": np.array(["2020-01-01"], dtype="datetime64[ms]")}, "column 'x' holds timestamp[ms], not numbers"),
        ({"x": np.zeros(0)}, "has no rows"),
    ],
)
def test_parquet_errors_name_row_and_column(tmp_path: Path, columns: dict[str, object], said: str) -> None:
    parquet = importlib.import_module("pyarrow.parquet")
    parquet.write_table(pa.table(columns), tmp_path / "x.parquet")
    assert refused(tmp_path / "x.parquet").startswith(said)


def test_parquet_that_is_not_whole_or_has_a_name_twice(tmp_path: Path) -> None:
    parquet, path = importlib.import_module("pyarrow.parquet"), tmp_path / "x.parquet"
    parquet.write_table(pa.Table.from_arrays([pa.array([1.0]), pa.array([2.0])], ["x", "x"]), path)
    assert refused(path) == "two columns have the name 'x'"
    path.write_bytes(path.read_bytes()[:50])
    assert refused(path).startswith("is not a whole Parquet file")


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        (np.array(1.0), "has shape [], but tables are [N] or [N, D]"),
        (np.zeros((2, 3, 4)), "has shape [2, 3, 4], but"),
        (np.zeros(0), "has no rows"),
        (np.zeros((3, 0)), "has no rows"),
        (np.array(["a", "b"]), "holds <U1, not numbers"),
        (np.array([1j]), "holds complex128"),
        (np.array([[1.0, 2.0], [3.0, np.nan]]), "row 1, column 1 (from 0): nan is not a finite number"),
        (np.array([{"a": 1}], dtype=object), "is not a readable .npy file of numbers"),
    ],
)
def test_npy_errors_name_the_place(tmp_path: Path, stored: np.ndarray, said: str) -> None:
    np.save(tmp_path / "x.npy", stored, allow_pickle=True)
    assert refused(tmp_path / "x.npy").startswith(said)


@pytest.mark.parametrize("kept", [0, 5, 40, 200])  # nothing, half of the magic, half of the header, half of the data
def test_truncated_npy_is_refused(tmp_path: Path, kept: int) -> None:
    np.save(tmp_path / "x.npy", np.zeros(100))
    whole = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "x.npy").write_bytes(whole[:kept])
    assert refused(tmp_path / "x.npy").startswith("is not a readable .npy file of numbers")


@pytest.mark.parametrize("name", ["x.txt", "x", "x.npz"])
def test_other_formats_are_refused(tmp_path: Path, name: str) -> None:
    for call in (table_files.read, lambda path: table_files.write(path, np.zeros((1, 1)))):
        with pytest.raises(ValueError, match=r"tables are kept in \.csv, \.parquet and \.npy files"):
            call(tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_missing_file(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(FileNotFoundError):
        table_files.read(tmp_path / f"x{suffix}")


def test_without_pyarrow_it_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from ddpm import table_files\n"
        "try: table_files.format_of('x.csv')\n"
        "except ImportError as error: print(error)\n"
        "print(table_files.format_of('x.npy'))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines() == ["x.csv: needs pyarrow: pip install 'fused-ddpm[tables]'", ".npy"]
