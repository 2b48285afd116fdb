"""Medians and ratios of the load benchmark: each round's figures are compared with that round's own limit."""

import collections
import statistics
import sys

measured = collections.defaultdict(lambda: collections.defaultdict(list))
for line in open(sys.argv[1]):
    number, case, *figures = line.split()
    measured[number][case].append([float(figure) for figure in figures])
rounds = {
    number: {case: [statistics.mean(each) for each in zip(*runs)] for case, runs in cases.items()}
    for number, cases in measured.items()
}


def spread(values, digits=0):
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


failed = sum(figures[2] for each in rounds.values() for case, figures in each.items() if len(figures) == 3)
print(f"{len(rounds)} rounds; failed requests: {failed:.0f}")
print("constant POST        ", spread([each["constant_post"][0] for each in rounds.values()]), "a second")
bars = {"ES256": 70, "EdDSA": 70, "RS256": 85}
short = []


def held_against(name, share, bar):
    median = statistics.median(share)
    if median < bar:
        short.append(f"{name}: {median:.1f} % in the median, the bar is {bar} %")


for alg, bar in bars.items():
    rate = [each[alg][0] for each in rounds.values()]
    p99 = [each[alg][1] for each in rounds.values()]
    cost = [each[f"sign_{alg}"][0] for each in rounds.values()]
    limit = [each[f"limit_{alg}"][0] for each in rounds.values()]
    share = [100 * r / l for r, l in zip(rate, limit)]
    summed = [1e6 / (1e6 / each["constant_post"][0] + each[f"sign_{alg}"][0]) for each in rounds.values()]
    of_sum = [100 * r / l for r, l in zip(rate, summed)]
    print(f"{alg:6} tokens         {spread(rate)} a second, p99 {spread(p99, 1)} ms, signature {spread(cost, 1)} us")
    print(f"       both in one    {spread(limit)} a second; share {spread(share, 1)} %")
    # The bar is of this. It is idealized: at the constant answer's rate the load generator never sleeps, and waking it costs
    # nothing.
    print(f"       sum of parts   {spread(summed)} a second; share {spread(of_sum, 1)} %, bar {bar} %")
    held_against(f"{alg} tokens", of_sum, bar)
share = [100 * each["jwks"][0] / each["constant_get"][0] for each in rounds.values()]
print("constant GET         ", spread([each["constant_get"][0] for each in rounds.values()]), "a second")
print("JWKS                 ", spread([each["jwks"][0] for each in rounds.values()]), "a second; share", spread(share, 1), "%, bar 90 %")
held_against("JWKS", share, 90)
if failed:
    short.append(f"{failed:.0f} requests failed")
if short:
    sys.exit("SHORT OF THE BAR\n" + "\n".join(short))
