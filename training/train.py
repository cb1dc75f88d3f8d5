#!/usr/bin/env python3
"""Fine-tunes a HuggingFace BERT token classifier on CoNLL files, with the quantization of octobert's engine.

    python training/train.py models/minilm-ner --train train.tsv --dev dev.tsv --scheme static -o build/qat
    octobert convert build/qat -o qat.octo --scheme static

The result is an ordinary checkpoint folder with scales beside it (octobert_training/checkpoint.py).
"""

import argparse
import sys

import torch
from transformers import AutoTokenizer, BertForTokenClassification

from octobert_training.conll import Examples, read_conll
from octobert_training.loop import Trainer
from octobert_training.model import SCHEMES


def arguments(argv):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("checkpoint", help="HuggingFace folder")
    parser.add_argument("-o", "--output", required=True, help="folder of the trained checkpoint")
    parser.add_argument("--train", required=True, help="CoNLL file: word and label a line")
    parser.add_argument("--dev", help="CoNLL file to measure on")
    parser.add_argument("--limit", type=int, help="train on the first N sentences alone")
    parser.add_argument("--dev-limit", type=int, help="measure on the first N sentences alone")
    parser.add_argument("--hold-out", type=int, default=0, metavar="N",
                        help="measure on every Nth sentence of --train, not trained on")
    parser.add_argument("--scheme", choices=SCHEMES, default="static")
    parser.add_argument("--ranges", choices=("lsq", "observed"), default="lsq", help="scales: learned, or observed")
    parser.add_argument("--distill", type=float, default=0.0, metavar="SHARE",
                        help="share of the loss that is the float model's distribution, 0 to 1")
    parser.add_argument("--distill-layers", type=float, default=0.0, metavar="WEIGHT",
                        help="of the error of every layer's result against the float model's, relative to its power")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--dropout", type=float,
                        help="default: the checkpoint's; 0 with --distill, whose target has none")
    parser.add_argument("--freeze-embeddings", action="store_true", help="do not train them: faster, less memory")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--max-steps", type=int, help="instead of --epochs")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=2e-5)
    parser.add_argument("--scale-learning-rate", type=float, default=1e-3,
                        help="of learned scales, as a share of each scale")
    parser.add_argument("--weight-decay", type=float, default=0.01)
    parser.add_argument("--warmup", type=float, default=0.06, help="share of the steps")
    parser.add_argument("--ema", type=float, default=0.0, metavar="DECAY",
                        help="measure and write the moving average of the steps' weights and scales")
    parser.add_argument("--calibration-batches", type=int, default=16)
    parser.add_argument("--max-length", type=int, default=128, help="tokens of a sentence")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--tensorboard", metavar="DIR", help="write TensorBoard logs")
    parser.add_argument("--eval-every", type=int, help="steps")
    parser.add_argument("--save-every", type=int, default=200, help="steps between states to resume from")
    parser.add_argument("--resume", action="store_true", help="go on from the state in the output folder")
    parser.add_argument("--no-progress", dest="progress", action="store_false")
    args = parser.parse_args(argv)
    if not 0 <= args.distill <= 1:
        parser.error("--distill: expected 0 to 1")
    if args.dropout is not None and not 0 <= args.dropout < 1:
        parser.error("--dropout: expected 0 to less than 1")
    if not 0 <= args.ema < 1:
        parser.error("--ema: expected 0 to less than 1")
    if args.hold_out and (args.hold_out < 2 or args.dev):
        parser.error("--hold-out: expected 2 or more (0: none), and no --dev beside it")
    if args.distill_layers < 0:
        parser.error("--distill-layers: expected 0 or more")
    if args.batch_size < 1 or args.epochs < 1 or (args.max_steps is not None and args.max_steps < 1):
        parser.error("--batch-size, --epochs and --max-steps: expected 1 or more")
    return args


def load_model(folder):
    model = BertForTokenClassification.from_pretrained(folder, dtype=torch.float32)
    return model, AutoTokenizer.from_pretrained(folder)


def sentences(args):
    """To train on, and to measure on: none if neither --dev nor --hold-out is given."""
    train, dev = read_conll(args.train)[:args.limit], read_conll(args.dev) if args.dev else []
    if args.hold_out:
        dev = train[args.hold_out - 1::args.hold_out]
        del train[args.hold_out - 1::args.hold_out]
    return train, dev[:args.dev_limit]


def main(argv=None):
    args = arguments(argv)
    torch.manual_seed(args.seed)
    if args.threads:
        torch.set_num_threads(args.threads)
    model, tokenizer = load_model(args.checkpoint)
    label2id = model.config.label2id

    def examples(part):
        return Examples(part, tokenizer, label2id, args.max_length)

    train, dev = sentences(args)
    Trainer(model, tokenizer, examples(train), examples(dev) if dev else None, args).run()


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError, RuntimeError) as error:
        sys.exit(f"train.py: {error}")
