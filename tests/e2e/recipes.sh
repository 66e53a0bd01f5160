#!/usr/bin/env bash
# One recipe of each folder of configs/ makes three steps on a few tiny images, with its teacher. With
# a third argument "all" every recipe does, from teachers of one kind, and so do the variants that
# docs/reproduce.md makes of recipes with --set.
set -uo pipefail
umbra=$1
configs=$2/configs
. "$(dirname "$0")/expect.bash"

# Four classes of 32-pixel images in one colour each, as PNG.
python3 - "$work/images" <<'PY'
import pathlib, struct, sys, zlib

def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

for part, images in (("train", 6), ("val", 2)):
    for label in range(4):
        folder = pathlib.Path(sys.argv[1]) / part / f"class_{label}"
        folder.mkdir(parents=True)
        for i in range(images):
            pixel = bytes((60 * label, 255 - 60 * label, 40 * i))
            rows = b"".join(b"\0" + bytes((p + x + y) % 256 for x in range(32) for p in pixel)
                            for y in range(32))
            (folder / f"{i}.png").write_bytes(
                b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 32, 32, 8, 2, 0, 0, 0))
                + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
PY

# makes_steps CONFIG [TEACHER'S RUN...]: its run is $work/CONFIG.
variant= settings=()  # set by varies alone
makes_steps() {
  local config=$1 teachers= more=() resolved
  shift
  for run in "$@"; do teachers+="{path=\"$work/$run\"},"; done
  (($#)) && more+=(--set "teacher=[$teachers]")
  resolved=$("$umbra" config "$configs/$config.toml" 2>&1)
  # As many epochs or samples as these images give.
  [[ $resolved == *'method = "sskd"'* ]] && more+=(--set distill.fit_epochs=1 --set "distill.fit_milestones=[]")
  [[ $resolved == *$'\nnegatives = '* ]] && more+=(--set 'distill.terms=[{method="kd"}, {method="crd", negatives=8}]')
  # What fine-tunes starts anew here; finetune_384.sh has it start from a model.
  [[ $resolved == *'init_from = "runs'* ]] && more+=(--set 'model.init_from=""')
  expect 0 " steps in" "$umbra" train "$configs/$config.toml" --out "$work/$config$variant" \
    --set "data.path=$work/images" --set data.format=auto --set data.workers=1 --set data.train_samples=0 \
    --set run.precision=fp32 --set augment.repeats=1 --set augment.mix_groups=1 \
    --set "augment.mean=[0.5, 0.5, 0.5]" --set "augment.std=[0.25, 0.25, 0.25]" \
    --set optim.lr=1e-4 --set "train.duration=3 steps" --set train.batch_size=4 --set schedule.name=constant --set schedule.warmup=0 \
    --set schedule.milestones=[] --set "eval.every=3 steps" --set "checkpoint.every=3 steps" "${more[@]}" "${settings[@]}"
}

# varies NAME CONFIG TEACHER'S_RUN SETTING...; no teacher: "".
varies() {
  local variant=-$1 config=$2 run=$3 settings=() setting
  shift 3
  for setting in "$@"; do settings+=(--set "$setting"); done
  makes_steps "$config" ${run:+"$run"}
}

makes_steps cifar/wrn_40_2
makes_steps imagenet/resnet34
"$umbra" train "$work/imagenet/resnet34/resolved.toml" --set model.name=regnety_004 --out "$work/regnety_004" --quiet ||
  failures=$((failures + 1))
if [ "${3:-}" = all ]; then
  cd "$configs" || exit 1
  for config in $(find . -name '*.toml' ! -name base.toml | cut -c3- | sort); do
    config=${config%.toml}
    [ -e "$work/$config" ] && continue
    count=$("$umbra" config "$config.toml" | grep -cE '^\[+teacher\]')
    case $config in
      regnety/* | transfer/*) run=regnety_004 ;;
      cifar_vit/* | distill/*_imagenet | imagenet/* | deit/*) run=imagenet/resnet34 ;;
      *) run=cifar/wrn_40_2 ;;
    esac
    runs=()
    for ((i = 0; i < count; ++i)); do runs+=("$run"); done
    makes_steps "$config" ${runs[@]+"${runs[@]}"}
  done

  # The table "any method on any pair", and the methods' own settings.
  pair=(distill/wrn_16_2 cifar/wrn_40_2)
  for method in fitnet at sp cc vid rkd pkt nst dkd dist ofd kd-lskd shake-paper shake-no-reverse \
    shake-strong-head shake-gt-proxy shake-direct; do
    varies "$method" "${pair[@]}" distill.preset=$method
  done
  for method in ab ft fsp; do
    varies $method "${pair[@]}" distill.preset=$method distill.terms.fit_epochs=1
  done
  varies beta "${pair[@]}" distill.preset=dkd distill.terms.beta=6
  varies crd "${pair[@]}" distill.preset=crd distill.terms.negatives=8
  varies crd_kd "${pair[@]}" distill.preset=none 'distill.terms=[{method="crd", negatives=8}, {method="kd"}]'
  varies review_kd "${pair[@]}" distill.preset=review-kd distill.terms.weight=0.6
  varies nesterov "${pair[@]}" optim.nesterov=true
  varies relaxed "${pair[@]}" distill.preset=crd 'distill.terms={method="crd", positives="relax", negatives=8}'
  varies dkd_lskd "${pair[@]}" distill.preset=dkd \
    'distill.terms={method="dkd", logit_norm="z_score", alpha=9, beta=72, temperature=2}'
  varies norm "${pair[@]}" distill.preset=norm model.expanded_channels=1024
  varies shake_code "${pair[@]}" distill.preset=shake-code distill.shadow=teacher
  varies mixup "${pair[@]}" augment.mixup_alpha=1.0
  varies cutmix "${pair[@]}" augment.cutmix_alpha=1.0
  varies shake_crd "${pair[@]}" distill.preset=shake-paper distill.terms.method=crd distill.terms.negatives=8
  varies beside_kd "${pair[@]}" 'distill.terms=[{method="kd", weight=0.9}, {method="crd", negatives=8}]'
  varies dml distill/wrn_16_2 "" distill.preset=dml 'teacher=[]'
  varies one distill/wrn_16_2 "" distill.preset=one 'teacher=[]' model.num_shadow_heads=2
  varies dml_heads shake/wrn_16_2_paper "" distill.preset=dml-heads 'teacher=[]'
  varies aekd shake/resnet8x4_teachers "" distill.teacher_weights=aekd \
    "teacher=[{path=\"$work/cifar/wrn_40_2\"}, {path=\"$work/cifar/wrn_40_2\"}]"
  varies at sskd/wrn_16_2_others cifar/wrn_40_2 'distill.terms=[{method="kd", weight=0.9}, {method="at"}]'
  varies supplement sskd/wrn_16_2 cifar/wrn_40_2 distill.preset=sskd-paper distill.fit_epochs=1 'distill.fit_milestones=[]'
  varies jigsaw sskd/wrn_16_2 cifar/wrn_40_2 augment.pretext=jigsaw distill.pretext_task=jigsaw
  varies rotation sskd/wrn_16_2 cifar/wrn_40_2 augment.pretext=rotation distill.pretext_task=rotation
  varies exemplar sskd/wrn_16_2 cifar/wrn_40_2 augment.pretext=rotation distill.pretext_task=exemplar
else
  makes_steps distill/wrn_16_2 cifar/wrn_40_2
  makes_steps shake/wrn_16_2_paper cifar/wrn_40_2
  makes_steps review_kd/wrn_40_1 cifar/wrn_40_2
  makes_steps sskd/wrn_40_1 cifar/wrn_40_2
  makes_steps cifar_vit/deit_tiny_shake cifar/wrn_40_2
  makes_steps demo/vit-shake cifar/wrn_40_2
  makes_steps experiments/cnn
  makes_steps imagenet/resnet18_kd imagenet/resnet34
  makes_steps transfer/deit_tiny_review_kd regnety_004
  makes_steps regnety/deit_tiny_shake regnety_004
  makes_steps deit/deit_tiny
  makes_steps ablate/no_mix
fi

[ $failures -eq 0 ] && echo "all passed"
exit $((failures > 0))
