//! Policies: a first one from a quote, and what is wrong with one.

use std::path::Path;

use attestation::{Image, Policy, Quote, Refusal};

use super::{Said, Unusable, plain, read, sample::Sample};
use crate::{
    cli::attest::{CheckArgs, InitArgs},
    trust,
};

/// It accepts what this guest was started from. That the guest deserves it is for whoever runs this to know.
pub(super) fn init(args: &InitArgs) -> Result<Said, Unusable> {
    let sample = Sample::read(&args.from_quote)?;
    let quote = sample.quote().ok_or_else(|| Unusable::NoQuote {
        path: args.from_quote.clone(),
    })?;
    let quote = match Quote::parse(&quote) {
        Ok(quote) => quote,
        Err(refusal) => return Ok(refused(&refusal)),
    };
    let report = quote.report();
    if report.is_debug() {
        return Ok(refused(&Refusal::TdDebug {
            found: report.td_attributes,
        }));
    }
    let policy = Policy::of(vec![Image::of(&args.name, &args.role, report)]);
    let problems = policy.problems();
    if !problems.is_empty() {
        return Ok(told(&problems));
    }
    let text = serde_json::to_string_pretty(&policy);
    text.map(Said::Good).map_err(|source| Unusable::Policy {
        path: args.from_quote.clone(),
        source: source.into(),
    })
}

pub(super) fn check(args: &CheckArgs) -> Result<Said, Unusable> {
    let policy = read_policy(&args.file)?;
    let problems = policy.problems();
    if !problems.is_empty() {
        return Ok(told(&problems));
    }
    let images: Vec<&str> = policy.images.iter().map(|image| image.name.as_str()).collect();
    let mut said = format!(
        "good: tier {} and above, images: {}\ndigest {}",
        policy.min_tier,
        plain(&images.join(", ")),
        policy.digest()
    );
    // By which lists of others name them, such as a registry's.
    for image in &policy.images {
        said.push_str(&format!("\nimage {} {}", plain(&image.name), image.digest()));
    }
    Ok(Said::Good(said))
}

/// In any of the formats that a configuration may have.
pub(super) fn read_policy(path: &Path) -> Result<Policy, Unusable> {
    trust::parse_policy(&read(path)?, path).map_err(|source| Unusable::Policy {
        path: path.to_owned(),
        source,
    })
}

fn refused(refusal: &Refusal) -> Said {
    Said::Refused(format!("refused: {}: {refusal}", refusal.code()))
}

fn told(problems: &[attestation::Problem]) -> Said {
    let lines: Vec<String> = problems.iter().map(|problem| plain(&problem.to_string())).collect();
    Said::Refused(lines.join("\n"))
}
