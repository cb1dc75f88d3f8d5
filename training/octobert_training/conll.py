"""CoNLL files (a word and its label a line, an empty line after a sentence) as batches; F1 by entity."""

import random

import torch


def read_conll(path):
    """[(words, labels)], the label being the last column, separated by tabs or spaces."""
    sentences, words, labels = [], [], []
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            fields = line.rstrip("\r\n").split("\t") if "\t" in line else line.split()
            if not any(field.strip() for field in fields):
                if words:
                    sentences.append((words, labels))
                words, labels = [], []
                continue
            if words == [] and fields[0] == "-DOCSTART-":
                continue
            if len(fields) < 2:
                raise ValueError(f"{path}:{number}: expected a word and a label, found {line.strip()!r}")
            words.append(fields[0])
            labels.append(fields[-1])
    if words:
        sentences.append((words, labels))
    if not sentences:
        raise ValueError(f"{path}: no sentences")
    return sentences


class Examples:
    """Sentences as ids, with the label of each word on its first piece and -100 elsewhere."""

    def __init__(self, sentences, tokenizer, label2id, max_length):
        self.items = []
        for words, labels in sentences:
            for label in labels:
                if label not in label2id:
                    raise ValueError(f"label {label!r} is not one of the model's: {', '.join(label2id)}")
            encoded = tokenizer(words, is_split_into_words=True, truncation=True, max_length=max_length)
            targets, previous = [], None
            for word in encoded.word_ids():
                targets.append(-100 if word is None or word == previous else label2id[labels[word]])
                previous = word
            self.items.append((encoded["input_ids"], targets))

    def __len__(self):
        return len(self.items)

    def batches(self, size, seed=None):
        """(ids, mask, targets) tensors; sentences of like length together, shuffled by `seed`, in order without one."""
        order = list(range(len(self.items)))
        generator = random.Random(seed)
        if seed is not None:
            generator.shuffle(order)
        chunk = size * 32 if seed is not None else len(order)
        groups = []
        for begin in range(0, len(order), chunk):
            part = sorted(order[begin:begin + chunk], key=lambda i: len(self.items[i][0]))
            groups += [part[i:i + size] for i in range(0, len(part), size)]
        if seed is not None:
            generator.shuffle(groups)
        for group in groups:
            yield self.collate(group)

    def collate(self, group):
        length = max(len(self.items[i][0]) for i in group)
        ids = torch.zeros(len(group), length, dtype=torch.long)
        mask = torch.zeros(len(group), length, dtype=torch.bool)
        targets = torch.full((len(group), length), -100)
        for row, index in enumerate(group):
            tokens, labels = self.items[index]
            ids[row, :len(tokens)] = torch.tensor(tokens)
            mask[row, :len(tokens)] = True
            targets[row, :len(tokens)] = torch.tensor(labels)
        return ids, mask, targets


def entities(labels):
    """{(type, first word, last word)}: I-X after O or after another type opens an entity."""
    found, start, kind = set(), None, None
    for i, label in enumerate([*labels, "O"]):
        prefix, _, name = label.partition("-")
        if kind is not None and (prefix != "I" or name != kind):
            found.add((kind, start, i - 1))
            kind = None
        if prefix in ("B", "I") and kind is None:
            start, kind = i, name
    return found


def f1(gold, predicted):
    """Of lists of label sequences."""
    right = spans = guesses = 0
    for truth, answer in zip(gold, predicted):
        truth, answer = entities(truth), entities(answer)
        right, spans, guesses = right + len(truth & answer), spans + len(truth), guesses + len(answer)
    return 2 * right / (spans + guesses) if spans + guesses else 1.0
