"""Recall and precision of the own text rules beside Presidio's patterns: cards, phones, national IDs, a corpus."""

from __future__ import annotations

import argparse
import gzip
import importlib
import json
import random
import re
from collections import Counter, defaultdict
from pathlib import Path

import tldextract
from harness import finish, row

from trustplane.guard.text.rules import RULES, cards, national, phones
from trustplane.guard.text.rules.checks import is_luhn
from trustplane.guard.text.rules.numbering import plan

REGIONS = [
    "US", "CA", "GB", "IE", "FR", "DE", "AT", "CH", "IT", "ES", "PT", "NL", "BE", "DK", "SE", "NO",
    "FI", "PL", "CZ", "HU", "RO", "GR", "TR", "RU", "UA", "IL", "IN", "CN", "JP", "AU", "BR", "MX",
]  # fmt: skip
SENTENCES = ("call me on {} please", "{}", "Name: Ann, number {}, room 12", "我的号码{}，谢谢")
CORPUS = Path(__file__).parents[1] / "../shared/data/presidio_small/generated_small.json.gz"
MAPPED = {
    "CREDIT_CARD": {"CREDIT_CARD"}, "PHONE_NUMBER": {"PHONE_NUMBER"}, "EMAIL_ADDRESS": {"EMAIL_ADDRESS"},
    "IP_ADDRESS": {"IP_ADDRESS"}, "DOMAIN_NAME": {"URL", "URL_CREDENTIALS"}, "US_SSN": {"US_SSN"},
    "US_DRIVER_LICENSE": {"US_DRIVER_LICENSE", "DRIVER_LICENSE"}, "ADDRESS": {"ADDRESS", "UK_POSTCODE"},
}  # fmt: skip
"""Type of the corpus → our entities and Presidio's."""


def card_numbers(rng, each):
    """Give (network, length, number) with each length of each network, Luhn digit computed."""
    for name, entry in cards.networks().items():
        for length in entry["lengths"]:
            for _ in range(each):
                low, _, high = rng.choice(entry["prefixes"]).partition("-")
                prefix = str(rng.randint(int(low), int(high or low)))
                body = prefix + "".join(rng.choices("0123456789", k=length - 1 - len(prefix)))
                yield name, length, body + next(d for d in "0123456789" if is_luhn(body + d))


def layouts(number, rng):
    """Give the number as people write it: whole, in fours, other separators, single digits, mixed."""
    yield number
    fours = [number[i : i + 4] for i in range(0, len(number), 4)]
    yield from (separator.join(fours) for separator in " -._/\n")
    yield " ".join(number)
    yield "".join(part + (rng.choice(" -._") if i + 1 < len(fours) else "") for i, part in enumerate(fours))


def found(rules, text, start, end, entity, threshold=0.4):
    hits = (h for rule in rules for h in rule.search(text) if h.score >= threshold and h.entity == entity)
    return any(h.start <= start and h.end >= end for h in hits)


def presidio_finds(recognizer, text, start, end, entity):
    results = recognizer.analyze(text, [entity], None)
    return any(r.start <= start and r.end >= end and r.score >= 0.4 for r in results)


def card_recall(rng, each):
    from presidio_analyzer.predefined_recognizers import CreditCardRecognizer

    recognizer = CreditCardRecognizer()
    ours, peer, total = Counter(), Counter(), Counter()
    for name, length, number in card_numbers(rng, each):
        for written in layouts(number, rng):
            text = f"it was paid with {written} yesterday"
            place = (17, 17 + len(written))
            total[name, length] += 1
            ours[name, length] += found(cards.RULES[:1], text, *place, "CREDIT_CARD")
            peer[name, length] += presidio_finds(recognizer, text, *place, "CREDIT_CARD")
    return ours, peer, total


def phone_numbers(rng, region, each):
    """Give valid numbers of a region: the examples of each type, then such with random digits that are valid."""
    import phonenumbers

    kinds = [phonenumbers.example_number_for_type(region, kind) for kind in (0, 1, 2, 3, 4, 6, 7)]
    examples = [number for number in kinds if number is not None]
    yield from examples
    for _ in range(each):
        for _ in range(200):
            national = phonenumbers.national_significant_number(rng.choice(examples[:2]))
            kept = rng.randint(1, len(national) - 3)
            tail = "".join(rng.choices("0123456789", k=len(national) - kept))
            number = phonenumbers.parse(f"+{examples[0].country_code}{national[:kept]}{tail}")
            if phonenumbers.is_valid_number_for_region(number, region):
                yield number
                break


def phone_recall(rng, each):
    import phonenumbers
    from presidio_analyzer.predefined_recognizers import PhoneRecognizer

    recognizer = PhoneRecognizer(supported_regions=REGIONS)
    default = PhoneRecognizer()
    formats = phonenumbers.PhoneNumberFormat
    ours, peer, vanilla, total = Counter(), Counter(), Counter(), Counter()
    for region in REGIONS:
        rules = [r for r in phones.RULES if not r.locales or region in r.locales]
        for number in phone_numbers(rng, region, each):
            for form in (formats.NATIONAL, formats.INTERNATIONAL, formats.E164):
                written = phonenumbers.format_number(number, form)
                sentence = rng.choice(SENTENCES)
                text = sentence.format(written)
                place = (sentence.index("{}"), sentence.index("{}") + len(written))
                total[region] += 1
                ours[region] += found(rules, text, *place, "PHONE_NUMBER")
                peer[region] += presidio_finds(recognizer, text, *place, "PHONE_NUMBER")
                vanilla[region] += presidio_finds(default, text, *place, "PHONE_NUMBER")
    return ours, peer, vanilla, total


def plan_agreement(rng, n):
    """Return how often our compiled plans and phonenumbers agree on whether digits are a national number."""
    import phonenumbers

    agree = 0
    for _ in range(n):
        region = rng.choice(REGIONS)
        digits = "".join(rng.choices("0123456789", k=rng.randint(7, 11)))
        try:
            valid = phonenumbers.is_valid_number_for_region(phonenumbers.parse(digits, region), region)
        except phonenumbers.NumberParseException:
            valid = False
        agree += (plan(region).national(digits) is not None) == valid
    return agree / n


def variants(value, is_valid, rng, wanted):
    """Give (value, valid) found by search: one character changed, then each change of another that is valid again."""
    classes = ("0123456789", "ABCDEFGHIJKLMNOPQRSTUVWXYZ")

    def like(character):
        return next((c for c in classes if character.upper() in c), character)

    good, bad = [], []
    for _ in range(wanted * 40):
        i = rng.randrange(len(value))
        changed = value[:i] + rng.choice(like(value[i])) + value[i + 1 :]
        (good if is_valid(changed) else bad).append(changed)
        for j in range(len(value) - 1, max(-1, len(value) - 5), -1):
            tried = (changed[:j] + c + changed[j + 1 :] for c in like(changed[j]))
            good += [v for v in tried if is_valid(v)]
        if len(good) >= wanted and len(bad) >= wanted:
            break
    return rng.sample(good, min(wanted, len(good))), bad[:wanted]


def national_ids(rng, wanted):
    valid_found = valid_total = bad_found = bad_total = 0
    for kind, rule in zip(national.KINDS, national.RULES, strict=True):
        is_valid = importlib.import_module(f"stdnum.{kind.module}").is_valid
        shape = re.compile(kind.pattern, re.IGNORECASE | re.ASCII)
        good, bad = variants(kind.example, is_valid, rng, wanted)
        for value in (v for v in good if shape.fullmatch(v)):
            text = f"{kind.words[0]}: {value}"
            valid_total += 1
            valid_found += found([rule], text, len(text) - len(value), len(text), kind.entity)
        for value in bad:
            text = f"{kind.words[0]}: {value}"
            bad_total += 1
            bad_found += found([rule], text, len(text) - len(value), len(text), kind.entity)
    return valid_found, valid_total, bad_found, bad_total


def table(samples, detect):
    """Return type → [hit, false alarm, missed] of spans that share a character."""
    counts = defaultdict(lambda: [0, 0, 0])
    for sample in samples:
        hits = [(e, a, b) for e, a, b in detect(sample["full_text"])]
        for name, entities in MAPPED.items():
            spans = [(s["start_position"], s["end_position"]) for s in sample["spans"] if s["entity_type"] == name]
            ours = [(a, b) for e, a, b in hits if e in entities]
            counts[name][0] += sum(any(a < y and x < b for a, b in ours) for x, y in spans)
            counts[name][2] += sum(not any(a < y and x < b for a, b in ours) for x, y in spans)
            places = [(s["start_position"], s["end_position"]) for s in sample["spans"]] if name == "ADDRESS" else spans
            counts[name][1] += sum(not any(a < y and x < b for x, y in places) for a, b in ours)
    return counts


def scores(counts):
    hit, false, missed = counts
    precision = hit / (hit + false) if hit + false else 1.0
    recall = hit / (hit + missed) if hit + missed else 1.0
    f2 = 5 * precision * recall / (4 * precision + recall) if precision + recall else 0.0
    return precision, recall, f2


def corpus_rows():
    if not CORPUS.exists():
        print(f"{CORPUS.name} is absent, no table by type")
        return [], {}
    from presidio_analyzer import PatternRecognizer
    from presidio_analyzer import predefined_recognizers as predefined

    kinds = [k for k in vars(predefined).values() if isinstance(k, type) and issubclass(k, PatternRecognizer)]
    english = [r for r in (k() for k in kinds) if r.supported_language == "en"] + [predefined.PhoneRecognizer()]

    def presidio(text):
        results = [x for r in english for x in r.analyze(text, r.supported_entities, None) or [] if x.score >= 0.4]
        return [(x.entity_type, x.start, x.end) for x in results]

    rules = [r for r in RULES if not r.locales or r.locales & {"US", "GB", "CN"}]

    def own(text):
        return [(h.entity, h.start, h.end) for r in rules for h in r.search(text) if h.score >= 0.4]

    samples = json.loads(gzip.decompress(CORPUS.read_bytes()))
    ours, peer = table(samples, own), table(samples, presidio)
    rows, kept = [], {}
    print(f"{'type':<20}{'spans':>6}   ours P / R / F2        Presidio P / R / F2")
    for name in MAPPED:
        a, b = scores(ours[name]), scores(peer[name])
        print(f"{name:<20}{ours[name][0] + ours[name][2]:>6}   {a[0]:.2f} / {a[1]:.2f} / {a[2]:.2f}      "
              f"{b[0]:.2f} / {b[1]:.2f} / {b[2]:.2f}")  # fmt: skip
        rows.append(row(f"presidio_small {name}, F2", a[2], unit="F2", better="higher", peer=b[2] or None,
                        peer_name="Presidio patterns"))  # fmt: skip
        kept[name] = {"ours": ours[name], "presidio": peer[name]}
    return rows, kept


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    tldextract.extract = tldextract.TLDExtract(suffix_list_urls=())  # Presidio would fetch the list
    rng = random.Random(20)
    ours, peer, total = card_recall(rng, 2 if quick else 50)
    for name, length in sorted(n for n in total if ours[n] < total[n]):
        print(f"card missed: {name} {length}: {ours[name, length]} of {total[name, length]}")
    by_region, peer_region, vanilla, calls = phone_recall(rng, 4 if quick else 200)
    for region in REGIONS:
        print(f"phones {region}: ours {by_region[region] / calls[region]:.3f}, Presidio with the region "
              f"{peer_region[region] / calls[region]:.3f}, as it comes "
              f"{vanilla[region] / calls[region]:.3f}")  # fmt: skip
    valid, valid_total, bad, bad_total = national_ids(rng, 5 if quick else 100)
    corpus, kept = corpus_rows()
    rows = [
        row("cards: recall", ours.total() / total.total(), unit="recall", better="higher",
            peer=peer.total() / total.total(), peer_name="Presidio's card pattern"),
        row("cards: networks and lengths found always", sum(ours[n] == total[n] for n in total) / len(total),
            unit="share", better="higher", must=1.0),
        row("phones: recall, 32 regions", by_region.total() / calls.total(), unit="recall", better="higher",
            peer=peer_region.total() / calls.total(), peer_name="Presidio, told all regions at once"),
        row("phones: recall beside Presidio as it comes", by_region.total() / calls.total(), unit="recall",
            better="higher", peer=vanilla.total() / calls.total(), peer_name="Presidio's default regions"),
        row("phones: recall, alone", by_region.total() / calls.total(), unit="recall", better="higher", must=0.95),
        row("phones: plans agree with phonenumbers", plan_agreement(rng, 2_000 if quick else 50_000), unit="share",
            better="higher", must=0.95),
        row("national IDs: kinds", len(national.KINDS), unit="kinds", better="higher", must=150),
        row("national IDs: countries", len({k.country for k in national.KINDS}), unit="countries", better="higher",
            must=60),
        row("national IDs: valid values found", valid / valid_total, unit="recall", better="higher", must=0.98),
        row("national IDs: bad check digits found", bad / bad_total, unit="share", better="lower", must=0.0),
        *corpus,
    ]  # fmt: skip
    samples = {
        "cards": {f"{n} {k}": [ours[n, k], peer[n, k], total[n, k]] for n, k in total},
        "phones": {r: [by_region[r], peer_region[r], vanilla[r], calls[r]] for r in REGIONS}, "presidio_small": kept,
    }  # fmt: skip
    finish("text_rules", rows, samples, quick=quick)


if __name__ == "__main__":
    main()
