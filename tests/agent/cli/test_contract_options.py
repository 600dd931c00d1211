"""What a user types for a contract, and what is said at the end."""

import json

import pytest
from PIL import Image


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--target", "noise<=low", "--keep", "the grain"], "contradict each other"),
        (["--target", "low_light<=low", "--keep", "the mood"], "contradict each other"),
        (["--target", "noise"], "does not parse"),
        (["--target", "noise=low"], "does not parse"),
        (["--target", "nois<=low"], "unknown target 'nois'"),
        (["--target", "noise<=tiny"], "unknown level 'tiny'"),
        (["--target", "ssim_to_input<=0.8"], "bounded from below"),
        (["--target", "psnr_to_input>=200"], "between 0 and 80"),
        (["--target", "piqe-=-5"], "a change is above 0"),
        (["--target", "noise<=low", "--target", "noise<=high"], "noise twice"),
        (["--target", ","], "no target"),
        (["--protect", "nose"], "none that can be found"),
        (["--protect", "1,2,3"], "does not parse"),
        (["--protect", "150,0,50,50"], "leaves the photo, which is 160x160 px"),
        (["--protect", "5,5,0,5"], "is empty"),
        (["--protect", "face", "--protect", "0,0,160,160"], "nothing would be restored"),
        (["--keep", "the vibe"], "cannot read 'the vibe'; say the grain, the bokeh"),
        (["--keep", "the noise low"], "cannot read"),
        (["--keep", "the sky"], "is a place; protect it instead"),
        (["--keep", ""], "nothing to keep"),
    ],
)
def test_contradictory_and_malformed(run, noisy_png, quick_yaml, words, named) -> None:
    done = run("restore", noisy_png, "--policy", quick_yaml, *words)
    assert done.code == 2
    assert named in done.err
    assert done.err.startswith("error: ") and done.err.count("\n") == 1
    assert not done.out
    assert list(noisy_png.parent.iterdir()) == [noisy_png]


def test_the_end_says_what_came_of_each(run, noisy_png, quick_yaml, tmp_path) -> None:
    words = ["--target", "noise<=low, ssim_to_input>=0.95", "--protect", "10,20,40,30"]
    words += ["--protect", "face", "--keep", "the colours", "-o", tmp_path / "out.png"]
    done = run("restore", noisy_png, "--policy", quick_yaml, *words)
    assert done.code == 0
    lines = [" ".join(line.split()) for line in done.err.splitlines()]
    assert "Asked for" in lines
    assert any(line.startswith("noise<=low not met noise is ") for line in lines)
    assert any(line.startswith("ssim_to_input>=0.95 met ssim_to_input is ") for line in lines)
    assert "protect the box 10,20,40,30 held 4.7% of the photo, as it came in" in lines
    assert "protect the face held not found in the photo" in lines
    assert any(line.startswith("keep the colours held") for line in lines)
    assert any(line.startswith("Note: protect the face: not found") for line in lines)
    (outcome,) = [line for line in lines if line.startswith("Outcome:")]
    assert "not met; noise<=low: noise is" in outcome
    assert "ssim_to_input>=0.95: ssim_to_input is 0." in outcome


def test_no_contract_is_not_mentioned(run, noisy_png, quick_yaml) -> None:
    assert "Asked for" not in run("restore", noisy_png, "--policy", quick_yaml).err


def test_a_policy_file_on_top_of_another(run, noisy_png, tmp_path) -> None:
    policy = tmp_path / "portraits.yaml"
    policy.write_text(
        'based_on: fast\ntargets: noise<=low\nprotect: ["10,20,40,30"]\nkeep: the colours\n'
    )
    done = run("restore", noisy_png, "--policy", policy, "--dry-run", "--json")
    assert done.code == 0
    report = json.loads(done.out)
    assert report["policy"] == "portraits"
    assert [clause["about"] for clause in report["contract"]] == ["target", "protect", "keep"]
    clash = run("restore", noisy_png, "--policy", policy, "--keep", "the grain")
    assert clash.code == 2
    assert "contradict" in clash.err


def test_limits_have_their_exit_code(run, noisy_png, quick_yaml) -> None:
    words = ["restore", noisy_png, "--policy", quick_yaml, "--target", "noise<=low"]
    done = run(*words, "--max-tools", "0")
    assert done.code == 4
    assert "noise<=low  not met" in done.err


def test_a_run_that_began_keeps_its_contract(run, noisy_png, quick_yaml) -> None:
    for words in (["--protect", "face"], ["--keep", "the grain"]):
        done = run("restore", noisy_png, "--resume", *words)
        assert done.code == 2
        assert f"{words[0]} cannot change a run that began" in done.err


def test_replay_on_another_size(run, noisy_png, quick_yaml, tmp_path) -> None:
    folder = tmp_path / "run"
    words = ["--protect", "10,20,40,30", "--run-dir", folder]
    assert run("restore", noisy_png, "--policy", quick_yaml, *words).code == 0
    other = tmp_path / "other.png"
    with Image.open(noisy_png) as photo:
        photo.crop((0, 0, 120, 100)).save(other)
    done = run("replay", folder, other)
    assert done.code == 1
    assert "px of a 160x160 photo, this one is 120x100; give it in percent" in done.err
