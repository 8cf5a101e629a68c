use super::*;

/// A prompt of 100 tokens by its bytes, 1000 at most; 50 tokens of answer at most, of one answer.
const EXTENT: Extent = Extent {
    prompt: 1000,
    output: 50,
    answers: 1,
    is_text: true,
    is_measured: true,
};

/// Twenty deltas of four bytes each.
const GIVEN: Facts = Facts {
    frames: 21,
    deltas: 20,
    text_len: 80,
    reasoning_len: 0,
    markup_len: 0,
    usage: None,
    so_far: None,
    is_broken_json: false,
};

fn seen(given: Facts) -> Seen {
    Seen {
        given,
        in_flight: 0,
        prompt: 100,
        has_hidden_reasoning: false,
    }
}

fn claim(prompt: u64, cached: u64, completion: u64, reasoning: u64) -> Option<WireUsage> {
    Some(WireUsage {
        prompt,
        cached,
        completion,
        reasoning,
    })
}

fn with_claim(usage: Option<WireUsage>) -> Seen {
    seen(Facts { usage, ..GIVEN })
}

/// The rows of the table in `docs/money.md`, in its order: what it says, and the cases that show it. Of each case the
/// way of ending, what was seen, what was held for, and prompt, cached, completion and reasoning tokens that are paid
/// for.
type Case = (Ending, Seen, Extent, Option<[u64; 4]>);

fn table() -> Vec<(&'static str, &'static str, Vec<Case>)> {
    use Ending::{BrokenOff, Cut, LeftAnswering, LeftUnanswered, NotDispatched, Unanswered, Whole};
    let nothing = Seen {
        prompt: 100,
        ..Seen::default()
    };
    let hidden = |seen: Seen| Seen {
        has_hidden_reasoning: true,
        ..seen
    };
    let in_flight = |in_flight| Seen {
        in_flight,
        ..seen(GIVEN)
    };
    let so_far = |seen: Seen| Seen {
        given: Facts {
            so_far: claim(70, 60, 1, 0),
            ..seen.given
        },
        ..seen
    };
    let per_request = Extent {
        is_measured: false,
        ..EXTENT
    };
    vec![
        (
            "refused before it was sent to an upstream",
            "nothing",
            vec![
                (NotDispatched, nothing, EXTENT, None),
                (NotDispatched, nothing, per_request, None),
            ],
        ),
        (
            "the client leaves while the request waits for an upstream",
            "nothing",
            vec![(NotDispatched, nothing, EXTENT, None)],
        ),
        (
            "every attempt fails before the first token",
            "nothing",
            vec![
                (Unanswered, nothing, EXTENT, None),
                (Unanswered, nothing, per_request, None),
            ],
        ),
        (
            "the client leaves before the first token, while an upstream is at work",
            "the prompt",
            vec![
                (LeftUnanswered, nothing, EXTENT, Some([100, 0, 0, 0])),
                (LeftUnanswered, so_far(nothing), EXTENT, Some([10, 60, 0, 0])),
            ],
        ),
        (
            "the client leaves in the middle of an answer",
            "the prompt, what was delivered, and of what the upstream had sent beyond it up to 16 tokens",
            vec![
                (LeftAnswering, seen(GIVEN), EXTENT, Some([100, 0, 20, 0])),
                (LeftAnswering, in_flight(3), EXTENT, Some([100, 0, 23, 0])),
                (LeftAnswering, in_flight(1000), EXTENT, Some([100, 0, 36, 0])),
                (LeftAnswering, so_far(seen(GIVEN)), EXTENT, Some([10, 60, 20, 0])),
                (
                    LeftAnswering,
                    with_claim(claim(90, 0, 18, 0)),
                    EXTENT,
                    Some([90, 0, 18, 0]),
                ),
            ],
        ),
        (
            "the upstream breaks off in the middle of an answer",
            "what was delivered, without the prompt",
            vec![
                (BrokenOff, seen(GIVEN), EXTENT, Some([0, 0, 20, 0])),
                (BrokenOff, so_far(seen(GIVEN)), EXTENT, Some([0, 0, 20, 0])),
                (
                    BrokenOff,
                    seen(Facts {
                        frames: 1,
                        ..Facts::default()
                    }),
                    EXTENT,
                    None,
                ),
            ],
        ),
        (
            "we end a stream that would exceed what is held",
            "the prompt and what was delivered",
            vec![(Cut, seen(GIVEN), EXTENT, Some([100, 0, 20, 0]))],
        ),
        (
            "whole, with usage that can be",
            "what the upstream counted, also where we would have counted more",
            vec![
                (Whole, with_claim(claim(120, 80, 20, 0)), EXTENT, Some([40, 80, 20, 0])),
                (Whole, with_claim(claim(7, 0, 2, 0)), EXTENT, Some([7, 0, 2, 0])),
                (Whole, with_claim(claim(0, 0, 0, 0)), EXTENT, Some([100, 0, 0, 0])),
            ],
        ),
        (
            "whole, without usage",
            "an estimate: a token for each delta or for every four bytes, whichever is more",
            vec![
                (Whole, seen(GIVEN), EXTENT, Some([100, 0, 20, 0])),
                (
                    Whole,
                    seen(Facts {
                        deltas: 1,
                        text_len: 161,
                        ..GIVEN
                    }),
                    EXTENT,
                    Some([100, 0, 41, 0]),
                ),
            ],
        ),
        (
            "whole, with more prompt than was held for",
            "the prompt that was held for",
            vec![(Whole, with_claim(claim(9999, 0, 20, 0)), EXTENT, Some([1000, 0, 20, 0]))],
        ),
        (
            "whole, with more tokens than the answer's bound, or than it has bytes of text and 8 for each answer",
            "the lesser of these",
            vec![
                (Whole, with_claim(claim(100, 0, 60, 0)), EXTENT, Some([100, 0, 50, 0])),
                (
                    Whole,
                    seen(Facts {
                        text_len: 12,
                        deltas: 3,
                        usage: claim(100, 0, 49, 0),
                        ..GIVEN
                    }),
                    EXTENT,
                    Some([100, 0, 20, 0]),
                ),
                (
                    Whole,
                    seen(Facts {
                        text_len: 0,
                        deltas: 0,
                        markup_len: 70,
                        usage: claim(100, 0, 40, 0),
                        ..GIVEN
                    }),
                    EXTENT,
                    Some([100, 0, 40, 0]),
                ),
                (
                    Whole,
                    seen(Facts {
                        text_len: 0,
                        usage: claim(100, 0, 40, 0),
                        ..GIVEN
                    }),
                    Extent {
                        is_text: false,
                        ..EXTENT
                    },
                    Some([100, 0, 40, 0]),
                ),
            ],
        ),
        (
            "whole, with reasoning that the client did not get",
            "nothing for it, unless the backend has `hidden_reasoning: billed`",
            vec![
                (Whole, with_claim(claim(100, 0, 50, 30)), EXTENT, Some([100, 0, 20, 0])),
                // Beyond the bound: what was given is paid for all the same.
                (Whole, with_claim(claim(100, 0, 80, 60)), EXTENT, Some([100, 0, 20, 0])),
                (
                    Whole,
                    hidden(with_claim(claim(100, 0, 50, 30))),
                    EXTENT,
                    Some([100, 0, 20, 30]),
                ),
                (
                    Whole,
                    seen(Facts {
                        reasoning_len: 24,
                        usage: claim(100, 0, 50, 10),
                        ..GIVEN
                    }),
                    EXTENT,
                    Some([100, 0, 40, 10]),
                ),
            ],
        ),
        (
            "whole and stopped by itself, with text that is no JSON where `json_schema` was asked for with `strict`",
            "half of each count, rounded down",
            vec![(
                Whole,
                seen(Facts {
                    is_broken_json: true,
                    usage: claim(101, 40, 20, 0),
                    ..GIVEN
                }),
                EXTENT,
                Some([30, 20, 10, 0]),
            )],
        ),
        (
            "of an operation whose tokens nobody counts, such as audio and images: whole, or the client left an upstream at work",
            "the price for a request",
            vec![
                (Whole, nothing, per_request, Some([0; 4])),
                (LeftUnanswered, nothing, per_request, Some([0; 4])),
                (LeftAnswering, nothing, per_request, Some([0; 4])),
                (BrokenOff, nothing, per_request, None),
            ],
        ),
    ]
}

#[test]
fn each_way_of_ending_has_its_charge() {
    for (event, _, cases) in table() {
        for (ending, seen, extent, expect) in cases {
            let charged = charge(ending, &seen, &extent).map(|billed| {
                let Usage {
                    prompt,
                    cached,
                    completion,
                    reasoning,
                } = billed.usage;
                [prompt, cached, completion, reasoning]
            });
            assert_eq!(charged, expect, "{event}: {ending:?} of {seen:?}");
        }
    }
}

#[test]
fn the_document_has_the_same_table() {
    let document = include_str!("../../../../../docs/money.md");
    let section = document.split("\n## What is charged").nth(1).unwrap_or_default();
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let rows: Vec<&str> = rows.skip(1).filter(|row| !row.starts_with("---")).collect();
    let ours: Vec<String> = table()
        .iter()
        .map(|(event, charged, _)| format!("{event} | {charged}"))
        .collect();
    assert_eq!(rows, ours);
}

#[test]
fn nothing_is_charged_beyond_what_was_held_for() {
    use Ending::{BrokenOff, Cut, LeftAnswering, LeftUnanswered, NotDispatched, Unanswered, Whole};
    let endings = [
        NotDispatched,
        Unanswered,
        BrokenOff,
        LeftUnanswered,
        LeftAnswering,
        Cut,
        Whole,
    ];
    let counts = [0, 1, 49, 50, 51, 999, 1001, u64::MAX];
    for ending in endings {
        for count in counts {
            for other in counts {
                let given = Facts {
                    deltas: other,
                    text_len: count,
                    reasoning_len: other,
                    usage: (count % 2 == 1).then_some(()).and(claim(count, other, other, count)),
                    so_far: claim(other, count, count, other),
                    ..GIVEN
                };
                let seen = Seen {
                    in_flight: count,
                    prompt: other,
                    has_hidden_reasoning: other % 2 == 1,
                    ..seen(given)
                };
                let Some(billed) = charge(ending, &seen, &EXTENT) else {
                    continue;
                };
                assert!(billed.usage.prompt_total() <= EXTENT.prompt, "{ending:?} {seen:?}");
                assert!(billed.usage.completion_total() <= EXTENT.output, "{ending:?} {seen:?}");
            }
        }
    }
}
