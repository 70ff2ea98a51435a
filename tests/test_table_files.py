"""Tables in files of each format: names, order and dtypes are kept, and errors name what is wrong."""

import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from written import refused, written

from ddpm import table_files

pd = pytest.importorskip("pandas")
pa = pytest.importorskip("pyarrow")

SUFFIXES = (".csv", ".parquet", ".npy")


# ---- what is read


def test_some_columns_and_a_target(tmp_path: Path) -> None:
    path = written(tmp_path / "x.csv", "a,note,b,kind\n1,x,2,u\n3,y,4,v\n")
    x, y, columns = table_files.read(path, "kind", ["b", "a"])
    assert columns == (("b", "a", "kind"), 2)
    assert x.to_numpy().tolist() == [[2, 1], [4, 3]]
    assert list(y) == ["u", "v"]
    assert refused(path, None, ["c"]) == "has no column 'c'; its columns are a, note, b, kind"
    assert refused(path, "c").startswith("has no column 'c'")
    assert "'x' is not a number" in refused(path, "kind")


def test_a_file_without_names(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(6).reshape(2, 3))
    for path in (tmp_path / "x.npy", written(tmp_path / "x.csv", "0,1,2.0\n3,4,5\n")):
        x, y, columns = table_files.read(path, "1")
        assert np.asarray(x).tolist() == [[0, 2], [3, 5]]
        assert list(y) == [1, 4]
        assert columns == ((0, 1, 2), 1)
        x, y, columns = table_files.read(path, "1", ["2"])
        assert np.asarray(x).tolist() == [[2], [5]]
        assert columns == ((0, 1), 1)
        assert "has no column '3'; its columns are 0, 1, 2" in refused(path, "3")


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "i8", "u1", ">f8", "?"])
@pytest.mark.parametrize("shape", [(1,), (5,), (1, 1), (5, 3)])
def test_npy_is_mapped(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    stored = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    np.save(tmp_path / "x.npy", stored)
    found = table_files.read(tmp_path / "x.npy").x
    assert isinstance(found, np.memmap)
    assert found.dtype == stored.dtype
    assert found.shape == (shape[0], 1 if len(shape) == 1 else shape[1])
    assert np.array_equal(found.ravel(), stored.ravel())


def test_what_was_read_is_said(tmp_path: Path) -> None:
    path = written(tmp_path / "x.csv", ",".join(f"c{i}" for i in range(9)) + "\n" + ",".join("123456789") + "\n")
    found = table_files.read(path)
    said = table_files.described("x.csv", len(found.x), found.columns)
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
            "a, b": rng.integers(-(2**53), 2**53, 100),
            "flag": rng.random(100) < 0.5,
            "größe": rng.standard_normal(100).round(2),
        }
    )
    table_files.write(tmp_path / f"x{suffix}", frame)
    pd.testing.assert_frame_equal(table_files.read(tmp_path / f"x{suffix}").x, frame)
    assert [path.name for path in tmp_path.iterdir()] == [f"x{suffix}"]


def test_columns_of_several_dtypes_in_npy(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1.5, 2.0], "b": [True, False], "c": pd.array([3, 4], dtype="Int64")})
    table_files.write(tmp_path / "x.npy", frame)
    assert np.load(tmp_path / "x.npy").tolist() == [[1.5, 1, 3], [2, 0, 4]]
    table_files.write(tmp_path / "y.parquet", np.arange(3, dtype=">i4")[:, None])
    assert pd.read_parquet(tmp_path / "y.parquet")["0"].tolist() == [0, 1, 2]


def test_an_index_of_pandas(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": [1.0, 2.0, 3.0]}, index=[5, 3, 9])
    frame.to_parquet(tmp_path / "x.parquet")
    assert table_files.read(tmp_path / "x.parquet").columns.names == ("x",)
    frame.rename_axis("id").to_parquet(tmp_path / "x.parquet")
    found = table_files.read(tmp_path / "x.parquet", None, ["id", "x"]).x
    assert found["id"].tolist() == [5, 3, 9]


def test_a_folder_of_parquet_files(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": np.arange(100) / 8, "k": list("ab" * 50), "n": np.arange(100)})
    (tmp_path / "data" / "b").mkdir(parents=True)
    for name, rows in (("a.parquet", frame[:30]), ("b/c.parquet", frame[30:75]), ("z.parquet", frame[75:])):
        rows.to_parquet(tmp_path / "data" / name, row_group_size=20)
    x, y, columns = table_files.read(tmp_path / "data", "k")
    pd.testing.assert_frame_equal(x, frame[["x", "n"]])
    assert list(y) == list(frame["k"])
    assert columns == (("x", "k", "n"), 1)
    assert table_files.names_of(tmp_path / "data") == ("x", "k", "n")
    parts = table_files.parts_of(tmp_path / "data", "k", None, 7)
    assert parts.rows == 100
    pd.testing.assert_frame_equal(pd.concat([x for x, _ in parts.read()], ignore_index=True), x)
    frame.assign(n=0.5).to_parquet(tmp_path / "data" / "y.parquet")
    with pytest.raises(ValueError, match=r"data/y\.parquet: has other columns than .*data/a\.parquet"):
        table_files.read(tmp_path / "data")


@pytest.mark.parametrize("dtype", ["float32", "int8", "uint64", "float16"])
def test_parquet_keeps_narrow_dtypes(tmp_path: Path, dtype: str) -> None:
    frame = pd.DataFrame({"x": np.arange(3).astype(dtype)})
    table_files.write(tmp_path / "x.parquet", frame)
    pd.testing.assert_frame_equal(table_files.read(tmp_path / "x.parquet").x, frame)


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".CSV", ".NPY"])
@pytest.mark.parametrize("shape", [(1, 1), (1000, 1), (100, 7)])
def test_an_array_comes_back_bit_for_bit(tmp_path: Path, suffix: str, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    array = (rng.standard_normal(shape) * 10.0 ** rng.integers(-30, 30, shape)).astype(np.float32)
    table_files.write(tmp_path / f"x{suffix}", array)
    assert np.array_equal(np.asarray(table_files.read(tmp_path / f"x{suffix}").x).astype(np.float32), array)


def test_text_does_not_fit_into_npy(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a \.npy file holds only numbers, but the table has text"):
        table_files.write(tmp_path / "x.npy", pd.DataFrame({"x": [1.0], "kind": ["a"]}))
    assert not list(tmp_path.iterdir())


# ---- what is refused


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
    assert refused(path).startswith("is not a complete Parquet file")
    (tmp_path / "folder").mkdir()
    assert refused(tmp_path / "folder") == "is a folder without .parquet files"


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        (np.array(1.0), "has shape [], but tables are [N] or [N, D]"),
        (np.zeros((2, 3, 4)), "has shape [2, 3, 4], but"),
        (np.zeros(0), "has no rows"),
        (np.zeros((3, 0)), "has no rows"),
        (np.array(["a", "b"]), "holds <U1, not numbers of at most 8 bytes"),
        (np.array([1j]), "holds complex128"),
        (np.zeros(3, np.longdouble), "holds float128, not numbers of at most 8 bytes"),
        (np.array([1, 2**53 + 1]), "row 1, column 0 (from 0): 9007199254740993 has more digits than a float64"),
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


@pytest.mark.parametrize("place", range(0, 128, 3))
def test_damaged_npy_is_refused_or_read(tmp_path: Path, place: int) -> None:
    np.save(tmp_path / "x.npy", np.zeros((4, 2)))
    content = bytearray((tmp_path / "x.npy").read_bytes())
    content[place] ^= 0x15
    (tmp_path / "x.npy").write_bytes(content)
    said = f"{tmp_path / 'x.npy'}: "
    try:
        table_files.read(tmp_path / "x.npy")
    except ValueError as error:
        said = str(error)
    assert said.startswith(f"{tmp_path / 'x.npy'}: ")


@pytest.mark.parametrize("name", ["x.txt", "x", "x.npz"])
def test_other_formats_are_refused(tmp_path: Path, name: str) -> None:
    for call in (table_files.read, lambda path: table_files.write(path, np.zeros((1, 1)))):
        with pytest.raises(ValueError, match=r"must be a \.csv, \.parquet or \.npy file"):
            call(tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_missing_file(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(FileNotFoundError):
        table_files.read(tmp_path / f"x{suffix}")


def test_without_pyarrow_it_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from ddpm import table_files\n"
        "try: table_files.format_of('x.csv')\n"
        "except ImportError as error: print(error)\n"
        "print(table_files.format_of('x.npy'))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines() == ["x.csv: needs pyarrow: pip install 'fused-ddpm[tables]'", ".npy"]
