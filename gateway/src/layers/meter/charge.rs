//! What is charged in each way of ending: one pure function, and the table of `docs/money.md` beside it.
//!
//! It says which usage is paid for. What that comes to is the tariff's business, and that it is never more than was
//! held is the ledger's.

use billing::{Usage, UsageSource};
use openapi::{stream::Facts, usage::WireUsage};

/// How a job of a charged account ended, as far as money goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// Nothing was sent to any upstream.
    NotDispatched,
    /// No attempt brought anything.
    Unanswered,
    /// It broke off after the client had begun to read.
    BrokenOff,
    /// The client left before anything came of an upstream that was at work.
    LeftUnanswered,
    /// The client left in the middle of the answer.
    LeftAnswering,
    /// We ended it: it would have gone past what was held.
    Cut,
    /// The client was given all of it.
    Whole,
}

/// What the request may have used at most, as it was held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Tokens of all prompts.
    pub(crate) prompt: u64,
    /// Tokens of all answers.
    pub(crate) output: u64,
    pub(crate) answers: u64,
    /// Whether bytes of text bound the tokens of an answer.
    pub(crate) is_text: bool,
    /// Whether tokens are charged, and not the request alone.
    pub(crate) is_measured: bool,
}

impl Extent {
    /// Of a request whose tokens nobody counts.
    pub(crate) const PER_REQUEST: Self = Self {
        prompt: 0,
        output: 0,
        answers: 1,
        is_text: false,
        is_measured: false,
    };
}

/// What is known of how it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Seen {
    /// What the client was given, with what the upstream said of usage.
    pub(super) given: Facts,
    /// Deltas that the upstream had sent and the client did not get.
    pub(super) in_flight: u64,
    /// The prompt by its bytes, for an upstream that says nothing of it.
    pub(super) prompt: u64,
    /// Whether the upstream counts reasoning that it does not show, by the word of the operator.
    pub(super) has_hidden_reasoning: bool,
}

/// What is paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Billed {
    pub(super) usage: Usage,
    pub(super) source: UsageSource,
}

/// Of what an upstream had sent when the client left, at most so much is paid for.
const IN_FLIGHT: u64 = 16;
/// Tokens of an answer that have no text: where it begins and ends, and the like.
const MARKERS: u64 = 8;

/// What is charged; `None` is nothing.
pub(super) fn charge(ending: Ending, seen: &Seen, extent: &Extent) -> Option<Billed> {
    if !extent.is_measured {
        let was_served = matches!(ending, Ending::Whole | Ending::LeftUnanswered | Ending::LeftAnswering);
        return was_served.then_some(Billed {
            usage: Usage::default(),
            source: UsageSource::None,
        });
    }
    let given = &seen.given;
    let billed = match ending {
        Ending::NotDispatched | Ending::Unanswered => return None,
        Ending::BrokenOff => Billed {
            usage: delivered(given, 0, extent, Prompt::default()),
            source: UsageSource::Estimated,
        },
        Ending::LeftUnanswered => Billed {
            usage: delivered(&Facts::default(), 0, extent, prompt(seen, extent)),
            source: UsageSource::Estimated,
        },
        Ending::LeftAnswering => Billed {
            usage: delivered(given, seen.in_flight.min(IN_FLIGHT), extent, prompt(seen, extent)),
            source: UsageSource::Estimated,
        },
        Ending::Cut => Billed {
            usage: delivered(given, 0, extent, prompt(seen, extent)),
            source: UsageSource::Estimated,
        },
        Ending::Whole => {
            let whole = whole(seen, extent);
            if given.is_broken_json { half(whole) } else { whole }
        }
    };
    // A whole answer has its price for the request in any case.
    (ending == Ending::Whole || billed.usage.total() > 0).then_some(billed)
}

/// The prompt's side of usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Prompt {
    total: u64,
    cached: u64,
}

/// The upstream's word for the prompt, or the estimate; never more than was held.
fn prompt(seen: &Seen, extent: &Extent) -> Prompt {
    let said = seen.given.usage.or(seen.given.so_far).filter(|said| said.prompt > 0);
    let (total, cached) = said.map_or((seen.prompt, 0), |said| (said.prompt, said.cached));
    Prompt {
        total: total.min(extent.prompt),
        cached,
    }
}

/// What the client was given of an answer that is not whole. The upstream's count, where it came, is less or it is
/// not believed.
fn delivered(given: &Facts, in_flight: u64, extent: &Extent, prompt: Prompt) -> Usage {
    let claimed = given.usage.map_or(u64::MAX, |usage| usage.completion);
    let completion = given.completion().saturating_add(in_flight);
    let completion = completion.min(claimed).min(extent.output);
    let reasoning = given.reasoning_len.div_ceil(openapi::stream::BYTES_PER_TOKEN);
    Usage::from_totals(prompt.total, prompt.cached, completion, reasoning)
}

/// A whole answer: the upstream's claim, as far as it is possible; without one an estimate.
fn whole(seen: &Seen, extent: &Extent) -> Billed {
    let given = &seen.given;
    let Some(claimed) = given.usage else {
        return Billed {
            usage: delivered(given, 0, extent, prompt(seen, extent)),
            source: UsageSource::Estimated,
        };
    };
    let prompt = prompt(seen, extent);
    let (completion, reasoning) = believable(claimed, seen, extent);
    Billed {
        usage: Usage::from_totals(prompt.total, prompt.cached, completion, reasoning),
        source: UsageSource::Upstream,
    }
}

/// Completion and reasoning tokens that can be: within the bound that was set, and no more than there is text for.
fn believable(claimed: WireUsage, seen: &Seen, extent: &Extent) -> (u64, u64) {
    let completion = claimed.completion.min(extent.output);
    // What is beyond the bound is taken from the reasoning, for that is what may be free: the answer is not.
    let visible = claimed.completion.saturating_sub(claimed.reasoning).min(completion);
    let reasoning = completion.saturating_sub(visible);
    if seen.has_hidden_reasoning || !extent.is_text {
        return (completion, reasoning);
    }
    let given = &seen.given;
    let markers = MARKERS.saturating_mul(extent.answers);
    let shown = given.text_len.saturating_add(given.markup_len);
    if reasoning == 0 {
        // What is reasoning and what is not was not told apart.
        return (completion.min(shown.saturating_add(markers)), 0);
    }
    let reasoning_shown = reasoning.min(given.reasoning_len);
    let visible = completion.saturating_sub(reasoning);
    let visible = visible.min(shown.saturating_sub(given.reasoning_len).saturating_add(markers));
    (visible.saturating_add(reasoning_shown), reasoning_shown)
}

/// Each class rounded down, so that it is half at most.
fn half(billed: Billed) -> Billed {
    let Usage {
        prompt,
        cached,
        completion,
        reasoning,
    } = billed.usage;
    Billed {
        usage: Usage {
            prompt: prompt / 2,
            cached: cached / 2,
            completion: completion / 2,
            reasoning: reasoning / 2,
        },
        ..billed
    }
}

#[cfg(test)]
mod tests;
