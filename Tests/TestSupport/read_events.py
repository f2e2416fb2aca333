"""Prints as JSON what TensorBoard reads in a directory of event files, by tag.

usage: read_events.py DIRECTORY
"""

import json
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

# 0: everything, where TensorBoard would draw a sample.
events = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0, "histograms": 0})
events.Reload()
tags = events.Tags()
json.dump(
    {
        "scalars": {tag: [[event.step, event.value] for event in events.Scalars(tag)] for tag in tags["scalars"]},
        "histograms": {
            tag: [
                {
                    "step": event.step,
                    "least": event.histogram_value.min,
                    "largest": event.histogram_value.max,
                    "count": event.histogram_value.num,
                    "sum": event.histogram_value.sum,
                    "limits": list(event.histogram_value.bucket_limit),
                    "counts": list(event.histogram_value.bucket),
                }
                for event in events.Histograms(tag)
            ]
            for tag in tags["histograms"]
        },
    },
    sys.stdout,
)
