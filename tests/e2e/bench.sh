#!/usr/bin/env bash
# umbra bench step and teacher; bench input is in input_pipeline.sh.
set -uo pipefail
umbra=$1
. "$(dirname "$0")/expect.bash"

for what in step teacher; do
  run=("$umbra" bench "$what" --batch 4 --seconds 0.05)
  expect 0 '"images_per_second":' "${run[@]}" --model resnet8 --json
  expect 0 "$what" "${run[@]}" --model resnet8 --precision fp32
  expect 0 '"classes":7,' "${run[@]}" --model vit_cifar_mini_distilled_patch4_32 --precision bf16 --classes 7 --json
  expect 0 '"image_size":64,' "${run[@]}" --model vit --image-size 64 --json \
    --set model.embed_dim=32 --set model.depth=1 --set model.num_heads=2
  expect 0 ", cuda_graph" "${run[@]}" --model resnet8 --set run.cuda_graph=true
  expect 2 "Did you mean" "${run[@]}" --model resnet9
  expect 2 "patch_size" "${run[@]}" --model vit_cifar_mini_patch4_32 --image-size 33
  expect 2 "batch" "${run[@]}" --batch 0
done
expect 2 "want auto, cpu, cuda" "$umbra" bench step --model resnet8 --device tpu

[ $failures -eq 0 ] && echo "all passed"
exit $((failures > 0))
