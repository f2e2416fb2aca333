"""A small Mixture-of-Experts model in PyTorch, trained by two processes whose experts are where moe-coordinator says.

    moe-coordinator serve --database moe.db --listen 127.0.0.1:7700 &
    PYTHONPATH=deploy/python python examples/pytorch_job.py 127.0.0.1:7700
    moe-ctl placement history

Where the programs are installed: PYTHONPATH=/usr/share/moe-training/python, and this file is in /usr/share/doc/moe-training/examples.
To be short, every rank keeps all weights and gets all tokens, and computes with those experts, or neurons of them, that the plan gives
it. A job that has no room for that sends tokens to the experts, and moves weights and their optimizer state before it says `applied`.
"""

import sys
import tempfile
import time

import torch
import torch.distributed as distributed
import torch.nn.functional as F
from torch import nn

from moe_coordinator import Client, Job

RANKS, LAYERS, EXPERTS, HIDDEN, WIDTH = 2, 2, 8, 128, 512
STEPS, INTERVAL, TOKENS = 60, 10, 1024


class Sum(torch.autograd.Function):
    """Of all ranks' tensors, on all ranks."""

    @staticmethod
    def forward(context, x):
        total = x.clone()
        distributed.all_reduce(total)
        return total

    backward = staticmethod(lambda context, gradient: Sum.forward(context, gradient))


class Gather(torch.autograd.Function):
    """All ranks' rows, on all ranks."""

    @staticmethod
    def forward(context, x):
        parts = [torch.empty_like(x) for _ in range(RANKS)]
        distributed.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(context, gradient):
        return Sum.forward(context, gradient).chunk(RANKS)[distributed.get_rank()]


class MoE(nn.Module):
    """The most probable expert of each token; the router favours the first ones."""

    def __init__(self, layer, rank):
        super().__init__()
        self.layer, self.rank = layer, rank
        self.router = nn.Linear(HIDDEN, EXPERTS)
        nn.init.constant_(self.router.bias[:2], 1.0)
        self.up = nn.Parameter(torch.randn(EXPERTS, WIDTH, HIDDEN) / HIDDEN**0.5)
        self.down = nn.Parameter(torch.randn(EXPERTS, HIDDEN, WIDTH) / WIDTH**0.5)
        self.load, self.rows, self.work, self.seconds = torch.zeros(EXPERTS, dtype=torch.int64), 0, 0, 0.0

    def forward(self, x, plan):
        everywhere = Gather.apply(x)
        weight, choice = F.softmax(self.router(everywhere), dim=1).max(dim=1)
        began = time.perf_counter()
        y = torch.zeros_like(everywhere)
        for expert in range(EXPERTS):
            tokens = (choice == expert).nonzero().squeeze(1)
            share = 0.0
            for fraction, shards in plan.replicas(self.layer, expert):
                # Each replica takes its fraction of the expert's tokens.
                rows = tokens[round(share * len(tokens)):round((share + fraction) * len(tokens))]
                share += fraction
                for holder, first, last in shards:
                    if holder == self.rank and len(rows) > 0:
                        hidden = F.silu(everywhere[rows] @ self.up[expert, first:last].T)
                        part = hidden @ self.down[expert, :, first:last].T
                        y = y.index_add(0, rows, weight[rows, None] * part)
                        self.rows += len(rows)
                        self.work += len(rows) * (last - first)
        self.seconds += time.perf_counter() - began
        self.load += torch.bincount(choice, minlength=EXPERTS)
        return x + Sum.apply(y).chunk(RANKS)[self.rank]


def start(address, key_file, rank):
    """Rank 0 starts the run, and tells the others its number and plan."""
    client, told = Client(address, key_file), [None]
    job = None
    if rank == 0:
        job = Job.register(
            client, run="pytorch", nodes=[0] * RANKS, hidden_size=HIDDEN, widths=[[WIDTH] * EXPERTS] * LAYERS,
            allocator="load-balanced", interval=INTERVAL, poll_interval=0.1,
            exchange={"latency_seconds": 1e-4, "bytes_per_second": 1e9})
        told = [(job.incarnation, job.plan)]
    distributed.broadcast_object_list(told, 0)
    return job or Job.join(client, "pytorch", told[0][0], rank, told[0][1])


def train(rank, address, key_file, rendezvous):
    distributed.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=RANKS)
    torch.set_num_threads(1)
    torch.manual_seed(1)
    job = start(address, key_file, rank)
    layers = nn.ModuleList(MoE(layer, rank) for layer in range(LAYERS))
    optimizer = torch.optim.AdamW(layers.parameters(), lr=1e-3)
    data = torch.Generator().manual_seed(2 + rank)
    began = time.perf_counter()
    for step in range(1, STEPS + 1):
        x = torch.randn(TOKENS, HIDDEN, generator=data)
        y = x
        for layer in layers:
            y = layer(y, job.plan)
        loss = F.mse_loss(y, x.roll(1, dims=1)) / RANKS
        optimizer.zero_grad(set_to_none=False)
        loss.backward()
        for parameter in layers.parameters():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)  # None of this rank's experts had a token.
            distributed.all_reduce(parameter.grad)
        optimizer.step()
        if step % INTERVAL == 0:
            report(job, rank, layers, step, loss.detach(), time.perf_counter() - began)
            follow(job, rank, step + 1)
            began = time.perf_counter()
    job.close(step=STEPS)
    distributed.destroy_process_group()


def report(job, rank, layers, step, loss, seconds):
    """Rank 0 tells the loads and the loss of all ranks; each rank what it computed, and how long that took."""
    distributed.all_reduce(loss)
    job.report(
        first_step=step - INTERVAL + 1, step_count=INTERVAL, step_seconds=seconds, tokens=INTERVAL * TOKENS,
        phase_seconds={"experts": sum(layer.seconds for layer in layers)},
        expert_rows=sum(layer.rows for layer in layers), expert_work=sum(layer.work for layer in layers),
        expert_loads=[layer.load.tolist() for layer in layers] if rank == 0 else None,
        loss=loss.item() if rank == 0 else None)
    for layer in layers:
        layer.load.zero_()
        layer.rows = layer.work = 0
        layer.seconds = 0.0


def follow(job, rank, step):
    """All ranks take the same plan before the same step."""
    offer = [job.offer()]
    distributed.broadcast_object_list(offer, 0)
    if (plan := offer[0]) is None:
        return
    job.accept(plan, step)
    # Here weights and optimizer state would move.
    job.applied(plan, step)
    if rank == 0:
        print(f"step {step}: plan {plan.revision}", flush=True)


def main():
    if not 2 <= len(sys.argv) <= 3:
        sys.exit("usage: pytorch_job.py HOST:PORT [KEY-FILE]")
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(
            train, (sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None, f"{folder}/rendezvous"), nprocs=RANKS)


if __name__ == "__main__":
    main()
