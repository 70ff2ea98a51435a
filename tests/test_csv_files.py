"""CSV files: whether the first row has names, what is read, and errors with their line and column."""

from pathlib import Path

import numpy as np
import pytest
from written import refused, written

from ddpm import table_files

pd = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")


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
    assert np.array_equal(found.x.to_numpy(), [[1, 2], [3, 4]])
    assert found.y is None


def test_columns_have_the_names_and_dtypes_of_the_file(tmp_path: Path) -> None:
    found = table_files.read(written(tmp_path / "x.csv", "b,a, c \n1,0.5,true\n2,1,false\n")).x
    assert {name: str(dtype) for name, dtype in found.dtypes.items()} == {"b": "int64", "a": "float64", "c": "bool"}
    assert list(table_files.read(written(tmp_path / "x.csv", "1,2\n3,4\n")).x) == [0, 1]


def test_a_column_of_whole_numbers_with_a_fraction_far_below(tmp_path: Path) -> None:
    # pyarrow guesses dtypes from the first megabyte
    lines = [f"{i},{i},left" for i in range(150_000)]
    path = written(tmp_path / "x.csv", "\n".join(["x,n,side", *lines, "0.5,7,right"]))
    x, y, columns = table_files.read(path, "side")
    assert [dtype.kind for dtype in x.dtypes] == ["f", "i"]
    assert x.iloc[-1].to_list() == [0.5, 7]
    assert list(y[-2:]) == ["left", "right"]
    assert columns == (("x", "n", "side"), 2)
    path.write_text(path.read_text() + "\n1,cat,left")
    assert refused(path, "side") == (
        "line 150003, column 'n': 'cat' is not a number: leave its column out, or name it as the target"
    )


@pytest.mark.parametrize(
    ("text", "target", "names", "rows"),
    [
        ("5.1,3.5,setosa\n4.9,3.0,setosa\n6.0,3.0,virginica\n", "2", (0, 1, 2), 3),  # no names: the class occurs again
        ("5.1,3,r\n4.9,3,s\n6.0,3,s\n", "2", (0, 1, 2), 3),  # no names: they have no fractions
        ("bear,1,1,0\ncat,0,1,1\n", "0", (0, 1, 2, 3), 2),  # no names: a number occurs twice
        ("0,1,species\n5.1,3.5,a\n4.9,3.0,a\n", "species", ("0", "1", "species"), 2),
        ("name,2019,2020\n1,2,3\n4,5,6\n", None, ("name", "2019", "2020"), 2),
        ("1990,1991\n5,a\n6,b\n", "1991", ("1990", "1991"), 2),
        ("2020-01,2020-02\n5,6\n7,8\n", None, ("2020-01", "2020-02"), 2),
        ("0,1,2\n5,6,7\n", None, (0, 1, 2), 1),  # as pandas writes columns without names
        ("0,1\n5,a\n6,b\n", "1", (0, 1), 2),
        ("0\n0.5\n1.5\n", None, (0,), 2),
        ("0\n1\n2\n", None, (0,), 3),
        ("0,1\n1,0\n", None, (0, 1), 2),
        ("true,false\nfalse,true\n", None, (0, 1), 2),
        ("1990,1991\n5,6\n", None, (0, 1), 2),
    ],
)
def test_whether_the_first_row_is_one_of_names(
    tmp_path: Path, text: str, target: str | None, names: tuple[object, ...], rows: int
) -> None:
    x, _, columns = table_files.read(written(tmp_path / "x.csv", text), target)
    assert columns.names == names
    assert len(x) == rows


def test_columns_without_a_name_are_left_out(tmp_path: Path) -> None:
    for text in (",a,b\n0,5,6\n1,7,8\n", ",0,1\n0,5,6\n1,7,8\n", "a;b;;\n5;6;;\n7;8;;\n"):
        path = written(tmp_path / "x.csv", text)
        assert "has no name: give it one, or choose the other columns" in refused(path)
        two = [name for name in table_files.names_of(path) if "Unnamed" not in name]
        assert table_files.read(path, None, two).x.to_numpy().tolist() == [[5, 6], [7, 8]]


@pytest.mark.parametrize(
    "columns",
    [
        {0: [0, 3, 6], 1: [1, 4, 7], 2: [2, 5, 8]},
        {0: [0.5, 1, 2], 1: ["x", "y", "y"]},
        {0: [1.0, 2.0], 1: [True, False], 2: ["u", "v"]},
        {"2020-01-01": [1.5, 2.0], "2020-01-02": [3.0, 4.0]},
    ],
)
def test_what_is_written_is_read_as_it_is(tmp_path: Path, columns: dict[object, list[object]]) -> None:
    frame = pd.DataFrame(columns)
    table_files.write(tmp_path / "x.csv", frame)
    text = [str(name) for name in frame if frame[name].dtype.kind == "O" or "str" in str(frame[name].dtype)]
    x, y, names = table_files.read(tmp_path / "x.csv", *text)
    found = x if y is None else x.assign(**{text[0]: y}).set_axis(list(names.names), axis=1)
    assert found.to_numpy().tolist() == frame.to_numpy().tolist()
    assert names.names == tuple(frame.columns)


@pytest.mark.parametrize("names", [["False", "True"], ["2019", "2020"], ["a", "a "], ["1.5", "b"]])
def test_names_that_a_csv_file_cannot_tell_from_a_row(tmp_path: Path, names: list[str]) -> None:
    with pytest.raises(ValueError, match=r"x\.csv: the names of columns \(.*, \.\.\.\) look like a row of numbers"):
        table_files.write(tmp_path / "x.csv", pd.DataFrame([[1, 2], [3, 4]], columns=names))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        (["1", "2", "10"], [1, 2, 10]),
        (["True", "False"], [True, False]),
        (["01", "1", "007"], ["01", "1", "007"]),
        (["1.0", "2.0"], ["1.0", "2.0"]),
        (["true", "1"], ["true", "1"]),
        (["NA", "0x1"], ["NA", "0x1"]),
        (["2020-01-01", "12:30"], ["2020-01-01", "12:30"]),
        (["18446744073709551616", "18446744073709551617"], ["18446744073709551616", "18446744073709551617"]),
    ],
)
def test_classes_are_text_unless_numbers_say_the_same(tmp_path: Path, values: list[str], classes: list[object]) -> None:
    path = written(tmp_path / "x.csv", "x,k\n" + "".join(f"{i},{value}\n" for i, value in enumerate(values)))
    assert table_files.read(path, "k").y.tolist() == classes


def test_numbers_with_a_fraction_are_no_classes(tmp_path: Path) -> None:
    said = refused(written(tmp_path / "x.csv", "x,k\n1,0.5\n2,1\n"), "k")
    assert said == "column 'k': 0.5 is not a whole number; a target must hold classes"
    with pytest.raises(ValueError, match="a table must have a column besides the target; got 'k' alone"):
        table_files.read(tmp_path / "x.csv", "k", ["k"])


def test_quoted_lines_in_a_long_file(tmp_path: Path) -> None:
    for name in ("x", "xx", "xxx", "xxxx"):  # moves the ends of pyarrow's blocks
        lines = [f'{10 * i},"a\n5,b"' if i % 2 else f"{10 * i},plain" for i in range(100_000)]
        x, y, _ = table_files.read(written(tmp_path / "x.csv", f"{name},k\n" + "\n".join(lines)), "k")
        assert np.array_equal(x[name], 10 * np.arange(100_000))
        assert set(y) == {"a\n5,b", "plain"}


def test_text_that_could_be_more_than_a_field(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a;b": [1.5, 2.0], "c": [1, 2], "k\tl": ['a\rb"', " b "]})
    table_files.write(tmp_path / "x.csv", frame)
    x, y, _ = table_files.read(tmp_path / "x.csv", "k\tl")
    pd.testing.assert_frame_equal(x, frame[["a;b", "c"]])
    assert list(y) == ['a\rb"', " b "]


def test_names_that_are_places_are_none(tmp_path: Path) -> None:
    frame = pd.DataFrame({"0": [1.5, 2.0], "1": [5, 6]})
    table_files.write(tmp_path / "x.csv", frame)
    assert (tmp_path / "x.csv").read_text() == "1.5,5\n2.0,6\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("x,y\n", "has no rows, only the names of columns"),
        ("x,y\n1,2\n3,cat\n", "line 3, column 'y': 'cat' is not a number: leave its column out, or"),
        ("a,5,b\n1,2,3\n1,cat,3\n", "line 3, column '5': 'cat' is not a number"),
        ('x,k\n1,2\n3,"4\n5,6\n7,8\n', "line 3: has a quotation mark that is not closed before line 5"),
        ("a,b\n1,2\n  \n3,4\n", "line 3: has 1 fields, but the first row has 2"),
        ("a\n1\n  \n3\n", "line 3, column 'a': '  ' is missing"),
        ('"1,234"\n999\n', "line 1, column '0': '1,234' is not a number: write thousands without separators"),
        ("0,5;1,5\n1;2\n", "line 1, column '0': '0,5' is not a number: write a decimal point, not a comma"),
        ("2020-01-01\n1\n", "line 1, column '0': '2020-01-01' is not a number: write a date as a number"),
        ("x\n5\n0x10\n", "line 3, column 'x': '0x10' is not a number: write it in decimal"),
        ("x\n5\n1152921504606846977\n", "line 3, column 'x': 1152921504606846977 has more digits than a float64"),
        ("x\n5\n18446744073709551617\n", "line 3, column 'x': '18446744073709551617' has more digits than a float64"),
        ("x,y\ntrue,1\n,2\n", "line 3, column 'x': is missing"),
        ("x\ntrue\nfalse\nyes\n", "line 4, column 'x': 'yes' is not a number"),
        ("x\n5\ntrue\n", "line 3, column 'x': 'true' is not a number: write 1 or 0"),
        ("x,y\nu,v\n1,2\n", "line 2, column 'x': 'u' is not a number"),
        ("1,2\n3\n", "line 2: has 1 fields, but the first row has 2"),
        ("x,y\n1,2,3\n", "line 2: has 3 fields, but the first row has 2: is a comma used as a decimal point?"),
        ("x\n1,5\n2,5\n", "line 2: has 2 fields, but the first row has 1: is a comma used as a decimal point?"),
        ("x;y\n1,5;2\n", "line 2, column 'x': '1,5' is not a number: write a decimal point, not a comma"),
        ('x,y\n"1,5",2\n', "line 2, column 'x': '1,5' is not a number: write a decimal point, not a comma"),
        ('x,y\n"1,234",2\n', "line 2, column 'x': '1,234' is not a number: write thousands without separators"),
        ("x\n1'000\n", "line 2, column 'x': \"1'000\" is not a number: write thousands without separators"),
        ("x\n1 000\n", "line 2, column 'x': '1 000' is not a number: write thousands without separators"),
        ("x\n2019-01-05\n", "line 2, column 'x': '2019-01-05' is not a number: write a date as a number"),
        ("x\n5.1.2019\n", "line 2, column 'x': '5.1.2019' is not a number: write a date as a number"),
        ("x\n12:30\n", "line 2, column 'x': '12:30' is not a number: write a time as a number"),
        ("x\n12%\n", "line 2, column 'x': '12%' is not a number: write the number alone"),
        ("x\n2019_20\n", "line 2, column 'x': '2019_20' is not a number: write it without underscores"),
        ("x\n\u0661\u0662\n", "line 2, column 'x': '\u0661\u0662' is not a number: write it with the digits 0 to 9"),
        ("1,2\n\n3,\n", "line 3, column '1': is missing: leave the row out, or fill it in"),
        ("1,nan\n", "line 1, column '1': 'nan' is missing"),
        ("x,y\n1,2\nNULL,3\n", "line 3, column 'x': 'NULL' is missing"),
        ("NA\n1\n2\n", "line 1: 'NA' is read as a missing value: choose another name"),
        ("x, x\n1,2\n", "line 1: two columns have the name 'x'"),
        ("1\n-inf\n", "line 2, column '0': -inf is not a finite number"),
        ("x\n\n1\n1e309\n", "line 4, column 'x': inf is not a finite number"),
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
