"""The command line given what makes no sense: it says so in a line, and never by a traceback."""

import sys

import pytest

from flowzoo import cli


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Runs `flowzoo` in an empty folder; gives its exit code, and what it printed in one line."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "500")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["flowzoo", *arguments])
        with pytest.raises(SystemExit) as exit:
            cli.main()
        output = "".join(capsys.readouterr())
        assert "Traceback" not in output
        return exit.value.code, " ".join(output.split())

    return run


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("[/bold]", "No such command '[/bold]'"),
        ("list extra", "unexpected extra argument"),
        ("info", "Missing argument"),
        ("info [/bold]", "No pretrained model is called '[/bold]'"),
        ("info ./a\0b", "No pretrained model is called"),
        (f"info ./{'x' * 5000}", "File name too long"),
        ("info hf://", "Expected hf://user/model"),
        ("info ~nobody", "No pretrained model is called '~nobody'"),
        ("sample nope", "No pretrained model is called 'nope'"),
        ("sample nice-mnist -n 0", "Invalid value for '-n'"),
        ("sample nice-mnist --temperature nan", "Invalid value for '--temperature'"),
        ("sample nice-mnist --out faces.jpg", "--out must name a .png file"),
        ("sample nice-mnist --out none/faces.png", "folder none, which does not exist"),
        ("evaluate nope", "No pretrained model is called 'nope'"),
        ("train nope", "No pretrained model is called 'nope'"),
        ("train realnvp-moons --out file", "File exists: 'file'"),
        ("train realnvp-moons --dtype-policy silly", "dtype must be a policy of Keras"),
        ("train realnvp-moons --devices 1000", "devices=1000, but Keras's"),
        ("train realnvp-moons --epochs 0", "Invalid value for '--epochs'"),
        ("train realnvp-moons --learning-rate nan", "Invalid value for '--learning-rate'"),
        ("download ./nope", "No pretrained model is called './nope'"),
        ("verify", "Give the name of a model, or --all."),
        ("verify [/bold]", "[/bold]: failed: No pretrained model is called '[/bold]'"),
        ("publish nope", "nope is no folder with a model.json"),
        ("publish nope --from none.keras", "none.keras cannot be loaded as a .keras file"),
        ("publish nope --from file", "file cannot be loaded as a .keras file"),
        ("publish nope --dtype int8", "nope is no folder with a model.json"),
    ],
)
def test_what_makes_no_sense_is_told_in_a_line(arguments, told, command, tmp_path):
    (tmp_path / "file").write_text("no model")
    code, output = command(*arguments.split(" "))
    assert code in (1, 2)
    assert told in output


def test_an_error_that_nobody_expected_is_told_with_its_kind(command, monkeypatch):
    def broken():
        raise KeyError("weights")

    monkeypatch.setattr("flowzoo.registry.index.list_models", broken)
    code, output = command("list")
    assert code == 1
    assert output == "flowzoo: KeyError: 'weights' FLOWZOO_TRACEBACK=1 in the environment shows where."
    monkeypatch.setenv("FLOWZOO_TRACEBACK", "1")
    monkeypatch.setattr(sys, "argv", ["flowzoo", "list"])
    with pytest.raises(KeyError):
        cli.main()
