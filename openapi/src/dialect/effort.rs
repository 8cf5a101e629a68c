//! How hard to think: `reasoning_effort` in words, and the budgets in tokens of models that want a number.

/// The efforts, each with its budget in tokens. A budget read back becomes the first effort that covers it.
const EFFORTS: [(&str, u64); 6] = [
    ("minimal", 1024),
    ("low", 2048),
    ("medium", 8192),
    ("high", 24_576),
    ("xhigh", 32_768),
    ("max", 65_536),
];

/// The budget of an effort; `None` for a word that is none.
pub(super) fn budget(effort: &str) -> Option<u64> {
    let known = EFFORTS.iter().find(|(name, _)| *name == effort);
    known.map(|(_, budget)| *budget)
}

/// The effort that covers a budget. What is beyond `xhigh` stays there: OpenAI's wire has no more.
pub(super) fn of_budget(budget: u64) -> &'static str {
    let covering = EFFORTS[..5].iter().find(|(_, covers)| budget <= *covers);
    covering.map_or("xhigh", |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_comes_back_as_its_effort() {
        for (effort, tokens) in &EFFORTS[..5] {
            assert_eq!(of_budget(*tokens), *effort);
            assert_eq!(budget(effort), Some(*tokens));
        }
        assert_eq!(of_budget(0), "minimal");
        assert_eq!(of_budget(10_000), "high");
        assert_eq!(of_budget(u64::MAX), "xhigh");
        assert_eq!(budget("much"), None);
    }
}
