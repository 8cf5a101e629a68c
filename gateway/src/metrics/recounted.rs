//! What became of a recount, as the metric names it.

/// What became of a recount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RecountOutcome {
    /// The claim stands.
    Agreed,
    Overclaimed,
    /// Too much to count at the time.
    Skipped,
    /// Not text alone, too long, or of a make that we cannot read.
    Uncountable,
    /// It took too long.
    Late,
}

impl RecountOutcome {
    pub(super) const ALL: [Self; 5] = [
        Self::Agreed,
        Self::Overclaimed,
        Self::Skipped,
        Self::Uncountable,
        Self::Late,
    ];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Agreed => "agreed",
            Self::Overclaimed => "overclaimed",
            Self::Skipped => "skipped",
            Self::Uncountable => "uncountable",
            Self::Late => "late",
        }
    }
}
