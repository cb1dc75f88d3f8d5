#!/usr/bin/env python3
"""tests/data/report.tfevents: the events of tests/report_test.cpp (GoldenBytes), by TensorBoard's own writer.

Needs tensorboard (scripts/goldens/requirements.txt). Run from anywhere; the file is replaced.
"""

import pathlib

import tensorboard
from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, tensor_shape_pb2, types_pb2
from tensorboard.summary.writer.record_writer import RecordWriter

GOLDEN = pathlib.Path(__file__).resolve().parents[2] / "tests" / "data" / "report.tfevents"
WALL_TIME = 1700000000.5


def text(tag, markdown):
    dimension = tensor_shape_pb2.TensorShapeProto.Dim(size=1)
    tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, string_val=[markdown.encode()],
                                    tensor_shape=tensor_shape_pb2.TensorShapeProto(dim=[dimension]))
    plugin = summary_pb2.SummaryMetadata.PluginData(plugin_name="text")
    return summary_pb2.Summary.Value(tag=tag, tensor=tensor, metadata=summary_pb2.SummaryMetadata(plugin_data=plugin))


def scalar(tag, value):
    return summary_pb2.Summary.Value(tag=tag, simple_value=value)


def histogram(tag, low, high, counts):
    width = (high - low) / len(counts)
    middles = [low + (i + 0.5) * width for i in range(len(counts))]
    histo = summary_pb2.HistogramProto(
        min=low, max=high, num=sum(counts), sum=sum(c * m for c, m in zip(counts, middles)),
        sum_squares=sum(c * m * m for c, m in zip(counts, middles)),
        bucket_limit=[low + (i + 1) * width for i in range(len(counts))], bucket=counts)
    return summary_pb2.Summary.Value(tag=tag, histo=histo)


def main():
    events = [event_pb2.Event(wall_time=WALL_TIME, file_version="brain.Event:2")]
    for step, value in [
            (0, text("report/model", "| what | value |\n|---|---|\n| title | octobert verify |\n")),
            (0, scalar("sqnr_db/embeddings", 0.0)),
            (3, scalar("sqnr_db/ffn2", 31.25)),
            (200, scalar("sqnr_db/ü", -0.1)),
            (3, histogram("weights/ffn2", -1, 1, [1, 2, 0, 400])),
            (0, histogram("activations/classifier", 0, 8, [3]))]:
        events.append(event_pb2.Event(wall_time=WALL_TIME, step=step, summary=summary_pb2.Summary(value=[value])))
    with open(GOLDEN, "wb") as file:
        writer = RecordWriter(file)
        for event in events:
            writer.write(event.SerializeToString(deterministic=True))
    print(f"{GOLDEN.name}: {len(events)} events, tensorboard {tensorboard.__version__}")


if __name__ == "__main__":
    main()
