//! How hard to think: `reasoning_effort` in words, and the budgets in tokens of models that want a number.

/// The efforts, each with its budget in tokens.
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

/// The effort that covers a budget, of the three that every server knows.
pub(super) fn of_budget(budget: u64) -> &'static str {
    match budget {
        0..=2048 => "low",
        2049..=8192 => "medium",
        _ => "high",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_comes_back_as_its_effort() {
        for effort in ["low", "medium", "high"] {
            assert_eq!(budget(effort).map(of_budget), Some(effort));
        }
        assert_eq!(budget("minimal").map(of_budget), Some("low"));
        assert_eq!(budget("max").map(of_budget), Some("high"));
        assert_eq!(
            [0, 2049, 8193, u64::MAX].map(of_budget),
            ["low", "medium", "high", "high"]
        );
        assert_eq!(budget("much"), None);
    }
}
