"""Writes the dumps that the importers are tested with, as vLLM and SGLang make them. Needs PyTorch."""

import collections
import pathlib
import zipfile

import torch

folder = pathlib.Path(__file__).parent

# Six slots of four experts in two layers; the last slots are replicas.
MAP = torch.tensor([[0, 1, 2, 3, 0, 1], [3, 2, 1, 0, 3, 3]])


def counts(*shape, first=0):
    return torch.arange(first, first + torch.Size(shape).numel(), dtype=torch.int32).reshape(shape)


# SGLang, --expert-distribution-recorder-mode stat: the last pass of the buffer is still empty.
logical = counts(3, 2, 4, first=1)
logical[2] = 0
torch.save({"rank": 0, "logical_count": logical, "average_utilization_rate_over_window": None}, folder / "sglang-stat.pt")

# The same, --expert-distribution-recorder-mode per_pass: a file for each rank.
for rank in range(2):
    records = [
        {"forward_pass_id": number, "rank": rank, "gatherer_key": "primary",
         "global_physical_count": counts(2, 6, first=10 * number + rank)}
        for number in (7, 8)]
    torch.save({"records": records, "last_physical_to_logical_map": MAP}, folder / f"sglang-pass-{rank}.pt")

# SGLang, per_token, has no counts.
torch.save({"records": [{"forward_pass_id": 1, "rank": 0, "topk_ids_of_layer": counts(2, 3, 2)}],
            "last_physical_to_logical_map": MAP}, folder / "sglang-token.pt")

# vLLM's EPLB state: a ring of four passes, the oldest of which is pass 2, and pass 3 was not recorded.
window = counts(4, 2, 6, first=1)
window[3] = 0
torch.save(
    collections.OrderedDict(
        expert_load_window=window, physical_to_logical_map=MAP, expert_load_window_step=2,
        logical_replica_count=torch.tensor([[2, 2, 1, 1], [1, 1, 1, 3]]), half=torch.ones(2, dtype=torch.float16),
        model_name="mixtral", device=torch.device("cpu"), size=torch.Size([1, 2])), folder / "vllm-state.pt")

# A tensor by itself, whose rows do not lie one after the other.
torch.save(counts(4, 2).double().t() / 2, folder / "tensor.pt")

# Tuples in tuples, more than a stack has room for: what is wrong is said, and nothing falls over.
with zipfile.ZipFile(folder / "deep.pt", "w") as file:
    file.writestr("deep/data.pkl", b"\x80\x02)" + b"\x85" * 60_000 + b".")

# A list that is a hundred times in itself.
with zipfile.ZipFile(folder / "endless.pt", "w") as file:
    file.writestr("endless/data.pkl", b"\x80\x02]q\x00" + b"h\x00a" * 100 + b".")

# Rows without numbers.
torch.save(torch.zeros(1 << 30, 0), folder / "rows.pt")
