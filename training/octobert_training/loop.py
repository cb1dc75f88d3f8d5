"""The training loop: calibration, steps, evaluation, checkpoints that training can go on from."""

import copy
import json
import pathlib
import sys

import torch
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from .checkpoint import save_checkpoint
from .conll import f1
from .engine import SCHEMES, EnginePass
from .model import QuantizedBert

STATE = "training_state.pt"


def parameter_groups(quantized, args):
    scales = {id(scale) for scale in quantized.scales()}
    decay, plain = [], []
    for parameter in quantized.parameters():
        if parameter.requires_grad and id(parameter) not in scales:
            (decay if parameter.dim() > 1 else plain).append(parameter)
    learned = [scale for scale in quantized.scales() if scale.requires_grad]
    groups = [{"params": decay, "weight_decay": args.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    # Adam's steps are as large as the learning rate, whatever the gradient: scales, of 1e-3 to 1, have a rate each.
    groups += [{"params": [scale], "weight_decay": 0.0, "lr": args.scale_learning_rate * scale.detach().mean().item()}
               for scale in learned]
    return groups


def training_loss(logits, targets, mask, teacher_logits, args):
    """Cross entropy on words; with a teacher, also its distribution on every token (Hinton et al. 2015)."""
    if teacher_logits is None:
        return functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100)
    hard = 0.0
    if args.distill < 1:
        hard = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100)
    t = args.temperature
    soft = functional.kl_div((logits[mask] / t).log_softmax(-1), (teacher_logits[mask] / t).log_softmax(-1),
                             reduction="batchmean", log_target=True) * t * t
    return (1 - args.distill) * hard + args.distill * soft


class Results:
    """The layers' results of a pass, by name: QuantizedBert's `watch`."""

    def __init__(self):
        self.by_name = {}

    def __call__(self, name, value):
        if name.endswith("ffn_norm"):
            self.by_name[name] = value

    def error(self, teacher, mask):
        """Of the layers' results against the teacher's, relative to their power, the mean over layers."""
        errors = []
        for name, expected in teacher.by_name.items():
            expected, found = expected[mask], self.by_name[name][mask]
            errors.append((found - expected).square().mean() / expected.square().mean())
        return torch.stack(errors).mean()


@torch.no_grad()
def evaluate(quantized, teacher, examples, batch_size, progress):
    """F1 by entity, and the share of words that get the float model's label. In the engine's arithmetic, where its
    products are of integers: what is measured is what will be converted."""
    quantized.eval()
    run = EnginePass(quantized) if quantized.scheme in SCHEMES else quantized
    names = quantized.model.config.id2label
    gold, predicted, same, words = [], [], 0, 0
    bar = tqdm(list(examples.batches(batch_size)), desc="evaluate", disable=not progress, leave=False)
    for ids, mask, targets in bar:
        answers = run(ids, mask).argmax(-1)
        reference = teacher(ids, mask).argmax(-1)
        real = targets != -100
        same += int((answers == reference)[real].sum())
        words += int(real.sum())
        for row in range(len(ids)):
            gold.append([names[int(i)] for i in targets[row][real[row]]])
            predicted.append([names[int(i)] for i in answers[row][real[row]]])
    return {"f1": f1(gold, predicted), "agreement": same / max(words, 1), "words": words}


class Trainer:
    def __init__(self, model, tokenizer, train, dev, args):
        self.args, self.tokenizer, self.train_examples, self.dev = args, tokenizer, train, dev
        self.output = pathlib.Path(args.output)
        self.teacher = QuantizedBert(copy.deepcopy(model), "float").eval().requires_grad_(False)
        self.quantized = QuantizedBert(model, args.scheme, "lsq" if args.ranges == "lsq" else "observed")
        self.steps = args.max_steps or args.epochs * -(-len(train) // args.batch_size)
        self.step = self.calibrated = 0
        if args.dropout is not None or args.distill > 0:
            self.quantized.dropout = args.dropout or 0.0
        if args.freeze_embeddings:
            model.bert.embeddings.requires_grad_(False)
        self.average = None
        self.optimizer = self.schedule = self.writer = None

    def make_optimizer(self):
        self.optimizer = torch.optim.AdamW(parameter_groups(self.quantized, self.args), lr=self.args.learning_rate,
                                           fused=True)
        warmup = max(1, round(self.steps * self.args.warmup))
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: min((step + 1) / warmup, max(0.0, (self.steps - step) / self.steps)))

    def make_average(self):
        """Of the steps' weights and scales (--ema), from those that training begins with."""
        if self.args.ema > 0:
            self.average = AveragedModel(self.quantized, multi_avg_fn=get_ema_multi_avg_fn(self.args.ema))
            self.average.update_parameters(self.quantized)

    def result(self):
        """The model that is measured and written."""
        return self.quantized if self.average is None else self.average.module

    def log(self, name, value):
        if self.writer is not None:
            self.writer.add_scalar(name, value, self.step)

    def calibrate(self):
        """First ranges: a moving average over some batches, before anything is trained."""
        if self.args.scheme != "static" or self.calibrated:
            return
        self.quantized.eval().observing(True)
        with torch.no_grad():
            batches = zip(range(self.args.calibration_batches), self.train_examples.batches(self.args.batch_size, seed=0))
            for _, (ids, mask, _) in tqdm(batches, desc="calibrate", total=self.args.calibration_batches,
                                          disable=not self.args.progress, leave=False):
                self.quantized(ids, mask)
        self.quantized.observing(False)
        self.calibrated = 1

    def run(self):
        self.output.mkdir(parents=True, exist_ok=True)
        if self.args.resume:
            self.load_state()
        if self.args.tensorboard:
            from torch.utils.tensorboard import SummaryWriter
            self.writer = SummaryWriter(self.args.tensorboard, purge_step=self.step)
        self.calibrate()
        if self.optimizer is None:
            self.make_optimizer()  # after calibration: rates of scales are shares of them
            self.make_average()
        bar = tqdm(total=self.steps, initial=self.step, desc="train", disable=not self.args.progress)
        for ids, mask, targets in self.remaining_batches():
            # Observed ranges follow the weights for the first half, then stay, so that training ends on what is saved.
            following = self.step < self.steps // 2
            self.quantized.train().observing(self.args.ranges == "observed" and following).refreshing(following)
            loss = self.train_step(ids, mask, targets)
            bar.update()
            bar.set_postfix(loss=f"{loss:.4f}")
            if self.args.eval_every and self.step % self.args.eval_every == 0:
                self.report()
            if self.args.save_every and self.step % self.args.save_every == 0:
                self.save_state()
        bar.close()
        result = self.report()
        self.result().eval().refreshing(False).snap()
        save_checkpoint(self.result(), self.tokenizer, self.output)
        self.save_state()
        if self.writer is not None:
            self.writer.close()
        return result

    def remaining_batches(self):
        """Batches in an order that the seed and the epoch alone decide, from where training stands."""
        position, epoch = 0, 0
        while position < self.steps:
            for batch in self.train_examples.batches(self.args.batch_size, seed=self.args.seed + epoch):
                if position >= self.steps:
                    return
                if position >= self.step:
                    torch.manual_seed(self.args.seed * 1_000_003 + position)  # dropout
                    yield batch
                position += 1
            epoch += 1

    def train_step(self, ids, mask, targets):
        teacher_logits, expected, found = None, Results(), Results()
        if self.args.distill > 0 or self.args.distill_layers > 0:
            with torch.no_grad():
                teacher_logits = self.teacher(ids, mask, expected)
        logits = self.quantized(ids, mask, found)
        loss = training_loss(logits, targets, mask, teacher_logits if self.args.distill > 0 else None, self.args)
        if self.args.distill_layers > 0:
            loss = loss + self.args.distill_layers * found.error(expected, mask)
        if not torch.isfinite(loss):
            raise RuntimeError(f"step {self.step}: the loss is {loss.item()}: lower the learning rate")
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.quantized.parameters(), 1.0)
        self.optimizer.step()
        self.schedule.step()
        with torch.no_grad():
            for scale in self.quantized.scales():
                scale.clamp_(min=1e-8)
        if self.average is not None:
            self.average.update_parameters(self.quantized)
        self.step += 1
        self.log("train/loss", loss.item())
        self.log("train/learning_rate", self.schedule.get_last_lr()[0])
        return loss.item()

    def report(self):
        if self.dev is None:
            return {"step": self.step}
        model = self.result().observing(False).refreshing(self.step < self.steps // 2)
        model.update_groups()
        result = evaluate(model, self.teacher, self.dev, self.args.batch_size, self.args.progress)
        for name in ("f1", "agreement"):
            self.log(f"dev/{name}", result[name])
        tqdm.write(json.dumps({"step": self.step, **result}), file=sys.stdout)
        return {"step": self.step, **result}

    def save_state(self):
        state = {"step": self.step, "calibrated": self.calibrated, "steps": self.steps, "seed": self.args.seed,
                 "scheme": self.args.scheme, "ranges": self.args.ranges, "ema": self.args.ema,
                 "model": self.quantized.state_dict(),
                 "optimizer": self.optimizer.state_dict(), "schedule": self.schedule.state_dict()}
        if self.average is not None:
            state["average"] = self.average.state_dict()
        temporary = self.output / (STATE + ".tmp")
        torch.save(state, temporary)
        temporary.replace(self.output / STATE)

    def load_state(self):
        path = self.output / STATE
        if not path.exists():
            raise FileNotFoundError(f"{path}: nothing to resume from")
        state = torch.load(path, weights_only=True)
        for key in ("scheme", "ranges", "steps", "seed", "ema"):
            mine = self.steps if key == "steps" else getattr(self.args, key)
            if state[key] != mine:
                raise ValueError(f"{path}: trained with {key} {state[key]}, asked for {mine}")
        self.quantized.load_state_dict(state["model"])
        self.make_average()
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.make_optimizer()
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.step, self.calibrated = state["step"], state["calibrated"]
