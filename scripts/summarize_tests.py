#!/usr/bin/env python3
"""Adds up what scripts/test.sh ran: steps.txt and the JUnit files of ctest. Exit 1 if anything failed or nothing ran."""

import collections
import pathlib
import re
import sys
import xml.etree.ElementTree


def read_junit(path: pathlib.Path):
    """(passed, failed names, skipped: reason -> names) of one ctest run."""
    passed, failed, skipped = 0, [], collections.defaultdict(list)
    for case in xml.etree.ElementTree.parse(path).getroot().iter("testcase"):
        output = case.findtext("system-out") or ""
        skip = case.find("skipped")
        if skip is not None or case.get("status") in ("notrun", "disabled"):
            own = "" if skip is None else skip.text or skip.get("message") or ""  # GoogleTest's JUnit has it here
            skipped[own.splitlines()[-1] if own and not output else skip_reason(output)].append(case.get("name"))
        elif case.find("failure") is not None or case.get("status") == "fail":
            failed.append(case.get("name"))
        else:
            passed += 1
    return passed, failed, skipped


def skip_reason(output: str) -> str:
    """GTEST_SKIP() << "reason" prints the line after 'file:line: Skipped'; our scripts print 'SKIPPED: reason'."""
    match = re.search(r": Skipped\n(.+)", output) or re.search(r"SKIPPED: (.+)", output)
    return match[1].strip() if match else "no reason given"


def main() -> int:
    folder = pathlib.Path(sys.argv[1])
    total, total_failed, total_skipped, bad = 0, 0, 0, False
    print("\n================ what was tested ================")
    for line in (folder / "steps.txt").read_text().splitlines():
        name, status, seconds = line.split("\t")
        bad |= status != "passed"
        print(f"{status:<8}{int(seconds):>5} s  {name}")
    print()
    reasons = collections.Counter()
    for path in sorted(folder.glob("*.xml")):
        passed, failed, skipped = read_junit(path)
        count = sum(map(len, skipped.values()))
        total += passed + len(failed) + count
        total_failed += len(failed)
        total_skipped += count
        print(f"{path.stem:<12} {passed:>6} passed {len(failed):>4} failed {count:>4} skipped")
        for name in failed:
            print(f"    FAILED {name}")
        for reason, names in skipped.items():
            reasons[reason] += len(names)
    for reason, count in reasons.most_common():
        print(f"    SKIPPED {count}: {reason}")
    bad |= total_failed > 0 or total == 0
    print(f"\n{total_skipped} of {total} tests were SKIPPED (reasons above)")
    # In ctest's own words, which is what is looked for in a log.
    share = 100 * (total - total_failed) // total if total else 0
    print(f"{share}% tests passed, {total_failed} tests failed out of {total}")
    print("GREEN" if not bad else "RED: something failed, see above")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
