#!/usr/bin/env python3
"""The small comparison of methods in docs/results.md: every method's student against the plain one.

usage: tools/experiments.py --data FOLDER [--out runs/experiments] [--seeds 1 2 3]
                            [--students cnn vit] [--methods NAME ...] [--program build/release/umbra]
                            [--figures FILE.csv] [--table]

FOLDER has train/ and val/ with one folder of 32-pixel images per class. Trains the teacher, then for
each seed every method on every student, and prints the tables. Budget: the teacher sees 600,000
images, each student 128,000 (2,000 steps of 64; four times as many views with SSKD), plus the fits
that a method needs: 1 to 4 minutes per run on one core with AMX, about 6 hours in all.

Resumable: finished runs are kept, an interrupted one goes on where it stopped. Every result is a line
of the figures, OUT/figures.csv if no other is named; what they hold is not run again, and the tables
come from them alone. --table only prints. Each run's full config is its resolved.toml.
"""
import argparse
import csv
import fcntl
import json
import pathlib
import statistics
import subprocess
import sys

CONFIGS = pathlib.Path(__file__).resolve().parent.parent / "configs" / "experiments"


def preset(name, more="", model=""):
    """A value of distill.preset, and further keys of [distill] and [model]."""
    return (f"[model]\n{model}\n" if model else "") + f'[distill]\npreset = "{name}"\n{more}\n'


def term(method, more=""):
    """A method of [[distill.terms]] beside the labels, with its published weight."""
    return f'[[distill.terms]]\nmethod = "{method}"\n{more}\n'


# Published weights and temperatures throughout. What is set beside them fits lengths to this budget:
# warm-ups and fits are about as long, as a share of the run, as in the 240 epochs they come from.
WARMUP = "warmup_epochs = 2"
FIT = "fit_epochs = 5"
SSKD_FIT = "fit_epochs = 10\nfit_milestones = [5, 7.5]"

COMMON = {
    "plain": "",
    "kd": preset("kd"),
    "kd, equal weights": preset("none") + term("kd"),
    "kd + lskd": preset("kd-lskd"),
    "dkd": term("dkd", WARMUP),
    "dist": term("dist"),
    "fitnet": term("fitnet"),
    "at": term("at"),
    "sp": term("sp"),
    "cc": term("cc"),
    "rkd": term("rkd"),
    "pkt": term("pkt"),
    "vid": term("vid"),
    "crd": term("crd", "negatives = 4096"),
    "review_kd": term("review_kd", WARMUP),
    "nst": term("nst"),
    "ft": term("ft", FIT),
    "dml": term("dml"),
    "sskd": '[augment]\npretext = "rotation"\n' + preset("sskd", SSKD_FIT),
}
SHAKE = {
    "shake": preset("shake-paper"),
    "shake, no reversed term (a)": preset("shake-no-reverse"),
    "shake, stronger head (c)": preset("shake-strong-head"),
    "shake, no teacher (e)": preset("dml-heads"),
    "shake, labels for the shadow (f)": preset("shake-gt-proxy"),
    "shake, direct term (h)": preset("shake-direct"),
    "shake + fitnet": preset("shake-paper") + term("fitnet"),
    "shake + crd": preset("shake-paper") + term("crd", "negatives = 4096"),
}
CNN = COMMON | SHAKE | {
    "shake, as the public code": preset("shake-code", 'shadow = "teacher"'),
    "the same, logits as they are": preset("shake-code", 'shadow = "teacher"\nlogit_norm = "none"'),
    "ofd": term("ofd"),
    "norm": preset("norm", model="expanded_channels = 512") +
            term("norm", "factor_epochs = [1, 2, 19, 22]"),
    "ab": term("ab", FIT),
    "fsp": term("fsp", FIT),
    "one": preset("none", model="num_shadow_heads = 1") + term("one"),
}
VIT = COMMON | {
    name: "[model]\ndistilled = true\n" + text for name, text in SHAKE.items()
} | {
    "deit-soft": preset("deit-soft", model="distilled = true"),
    "deit-hard": preset("deit-hard", model="distilled = true"),
}
STUDENTS = {"cnn": CNN, "vit": VIT}
NEED_NO_TEACHER = {"plain", "dml", "one", "shake, no teacher (e)"}


def train(program, config, out, *settings):
    if (out / "summary.json").exists():
        return
    command = [program, "train", config, "--out", out, *settings]
    if (out / "resolved.toml").exists():
        command.append("--resume")
    print(f"-- {out}", flush=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    with open(out.parent / f"{out.name}.log", "a") as log:
        if subprocess.run([str(part) for part in command], stdout=log, stderr=log).returncode:
            sys.exit(f"{out}: failed; see {log.name}")


def folder(out, student, method, seed):
    words = "".join(c if c.isalnum() else " " for c in method).split()
    return out / student / f"{'-'.join(words)}-seed{seed}"


def last_scores(run):
    """What a finished run scored after its last step: top-1 by head, and agreement; in %."""
    scores = json.loads((run / "summary.json").read_text())["last"]["raw"]
    return {name: round(score["top1"] if isinstance(score, dict) else score, 2)
            for name, score in scores.items()}


class Figures:
    """Results by (student, method, seed), kept in a CSV file. Several processes may add to it."""

    COLUMNS = ("student", "method", "seed", "class", "shadow", "agreement", "teacher")

    def __init__(self, path):
        self.rows = {}
        if path.exists():
            with open(path, newline="") as file:
                for row in csv.DictReader(file):
                    self.rows[row["student"], row["method"], int(row["seed"])] = row

    @classmethod
    def add(cls, path, row):
        with open(path, "a", newline="") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            writer = csv.DictWriter(file, cls.COLUMNS, restval="", extrasaction="ignore",
                                    lineterminator="\n")
            if file.tell() == 0:
                writer.writeheader()
            writer.writerow(row)

    def column(self, student, method, name):
        """{seed: value} of one method."""
        return {key[2]: float(row[name]) for key, row in sorted(self.rows.items())
                if key[:2] == (student, method) and row[name]}


def run_all(options):
    options.figures.parent.mkdir(parents=True, exist_ok=True)
    known = Figures(options.figures).rows
    missing = [(student, method, seed) for seed in options.seeds for student in options.students
               for method in STUDENTS[student]
               if (not options.methods or method in options.methods)
               and (student, method, seed) not in known]
    if not missing:
        return
    data = ["--set", f"data.path={options.data}"]
    teacher = options.out / "teacher"
    train(options.program, CONFIGS / "teacher.toml", teacher, *data)
    teacher_top1 = last_scores(teacher)["class"]
    for student, method, seed in missing:
        out = folder(options.out, student, method, seed)
        out.parent.mkdir(parents=True, exist_ok=True)
        config = out.parent / f"{out.name}.toml"
        taught = "" if method in NEED_NO_TEACHER else \
            f'[teacher]\npath = "{teacher.resolve()}"\ncheckpoint = "last"\n'
        text = STUDENTS[student][method]
        config.write_text(f'extends = "{CONFIGS / student}.toml"\n{text}\n{taught}')
        train(options.program, config, out, *data, "--set", f"run.seed={seed}")
        Figures.add(options.figures, {
            "student": student, "method": method, "seed": seed,
            "teacher": teacher_top1 if taught else ""} | last_scores(out))


def spread(values):
    return f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}" if len(values) > 1 \
        else f"{values[0]:.2f}"


def table(figures, student):
    plain = figures.column(student, "plain", "class")
    print(f"\n{student}: top-1 (%) after the last step, mean ± sample standard deviation over seeds\n")
    print("| method | seeds | class head | minus plain, by seed | shadow head | agreement with teacher |")
    print("| --- | --- | --- | --- | --- | --- |")
    for method in STUDENTS[student]:
        top1 = figures.column(student, method, "class")
        if not top1:
            continue
        gains = [top1[seed] - plain[seed] for seed in top1 if seed in plain]
        columns = [list(top1.values()), gains if method != "plain" else []]
        columns += [list(figures.column(student, method, name).values())
                    for name in ("shadow", "agreement")]
        cells = [method, len(top1)] + [spread(values) if values else "-" for values in columns]
        print(f"| {' | '.join(str(cell) for cell in cells)} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder with train/ and val/")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/experiments"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--students", nargs="+", choices=list(STUDENTS), default=list(STUDENTS))
    parser.add_argument("--methods", nargs="+", choices=sorted(CNN | VIT))
    parser.add_argument("--program", default="build/release/umbra")
    parser.add_argument("--figures", type=pathlib.Path)
    parser.add_argument("--table", action="store_true", help="only print the tables")
    options = parser.parse_args()
    options.figures = options.figures or options.out / "figures.csv"
    if not options.table:
        if not options.data:
            parser.error("--data is needed")
        run_all(options)
    figures = Figures(options.figures)
    teachers = sorted({row["teacher"] for row in figures.rows.values() if row["teacher"]})
    print(f"teachers, top-1 (%): {', '.join(teachers) or 'none yet'}")
    for student in options.students:
        table(figures, student)


if __name__ == "__main__":
    main()
