"""zuko's NSF on a fold of `tables.py`: reads FOLD.npz, writes log-densities of its test rows to FOLD.npy."""

import copy
import pathlib
import sys

import numpy as np
import torch
import zuko

EPOCHS, PATIENCE = 1000, 50

path = pathlib.Path(sys.argv[1])
torch.manual_seed(0)
torch.set_num_threads(1)
data = np.load(path)
rows = torch.from_numpy(data["train"])[torch.randperm(len(data["train"]))]
held_out, train = rows[: len(rows) // 10], rows[len(rows) // 10 :]
flow = zuko.flows.NSF(features=train.shape[1], transforms=3, hidden_features=(64, 64))
optimizer = torch.optim.Adam(flow.parameters(), lr=1e-3)
best, state, since = np.inf, None, 0
for _ in range(EPOCHS):
    for batch in train[torch.randperm(len(train))].split(64):
        loss = -flow().log_prob(batch).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        found = -flow().log_prob(held_out).mean().item()
    if found < best:
        best, state, since = found, copy.deepcopy(flow.state_dict()), 0
    else:
        since += 1
    if since == PATIENCE:
        break
flow.load_state_dict(state)
with torch.no_grad():
    np.save(path.with_suffix(".npy"), flow().log_prob(torch.from_numpy(data["test"])).double().numpy())
