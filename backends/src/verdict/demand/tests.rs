use super::*;
use crate::verdict::guests::Guest;

/// 2026-11-22.
const NOW: u64 = 1_795_305_600;

fn asking(min_tier: Tier, max_age_s: Option<u32>, require: &[Requirement]) -> Demand {
    Demand {
        min_tier,
        max_age_s,
        require: require.to_vec(),
        accepts_strangers: false,
    }
}

#[test]
fn a_demand_is_met_by_its_tier_or_a_higher_one() {
    let none = Assurance::none();
    let keyed = Assurance::of(Guest::new(NOW).keyed(), NOW);
    let tee = Assurance::of(Guest::new(NOW).verdict(), NOW);
    let unlisted = Assurance::of(Guest::new(NOW).with_gpu(), NOW);
    let gpu = Assurance::of(Guest::new(NOW).listed().with_gpu(), NOW);
    let low = Some(Reason::TierTooLow);
    for (shown, tier, expect) in [
        (&none, Tier::Open, [None, low, low]),
        (&keyed, Tier::Open, [None, low, low]),
        (&tee, Tier::Tee, [None, None, low]),
        // Genuine devices on a machine that nobody knows lift nothing.
        (&unlisted, Tier::Tee, [None, None, low]),
        (&gpu, Tier::TeeGpu, [None, None, None]),
    ] {
        assert_eq!(shown.tier(), tier);
        let met = Tier::ALL.map(|asked| asking(asked, None, &[]).refuses(shown, NOW));
        assert_eq!(met, expect, "of {tier}");
    }
}

#[test]
fn a_verdict_that_ended_meets_nothing() {
    for verdict in [Guest::new(NOW).verdict(), Guest::new(NOW).keyed()] {
        let shown = Assurance::of(verdict, NOW);
        let any = Demand::any();
        assert_eq!(any.refuses(&shown, NOW + 599), None);
        assert_eq!(any.refuses(&shown, NOW + 600), Some(Reason::VerdictExpired));
    }
}

#[test]
fn a_stranger_serves_what_says_so_or_what_it_proved() {
    let saying = Demand {
        accepts_strangers: true,
        ..Demand::any()
    };
    for stranger in [
        Assurance::none().self_enrolled(),
        Assurance::of(Guest::new(NOW).keyed(), NOW).self_enrolled(),
    ] {
        assert_eq!(Demand::any().refuses(&stranger, NOW), Some(Reason::SelfEnrolled));
        assert_eq!(saying.refuses(&stranger, NOW), None);
    }
    let proved = Assurance::of(Guest::new(NOW).verdict(), NOW).self_enrolled();
    for demand in [Demand::any(), saying, asking(Tier::Tee, None, &[])] {
        assert_eq!(demand.refuses(&proved, NOW), None);
    }
    assert_eq!(
        asking(Tier::TeeGpu, None, &[]).refuses(&proved, NOW),
        Some(Reason::TierTooLow)
    );
}

#[test]
fn an_answer_may_be_too_old() {
    let shown = Assurance::of(Guest::new(NOW).verdict(), NOW + 100);
    let demand = asking(Tier::Open, Some(60), &[]);
    for (now, expect) in [
        (NOW + 100, None),
        (NOW + 160, None),
        (NOW + 161, Some(Reason::TooOld)),
        // The clock was set back: who knows how old it is.
        (NOW + 99, Some(Reason::TooOld)),
    ] {
        assert_eq!(demand.refuses(&shown, now), expect, "{} s later", now - NOW);
    }
    assert_eq!(demand.refuses(&Assurance::none(), NOW), Some(Reason::NotAttested));
}

#[test]
fn each_requirement_is_one_question() {
    let none = Assurance::none();
    let keyed = Assurance::of(Guest::new(NOW).with_receipt_key().keyed(), NOW);
    let tee = Assurance::of(Guest::new(NOW).verdict(), NOW);
    let all = Assurance::of(Guest::new(NOW).listed().with_receipt_key().with_gpu(), NOW);
    for (requirement, by_tee, by_all) in [
        // Never under a development root.
        (Requirement::IntelAnchor, false, false),
        (Requirement::ListedPlatform, false, true),
        (Requirement::UpToDate, true, true),
        (Requirement::NoAdvisories, true, true),
        (Requirement::Gpu, false, true),
        (Requirement::Statements, false, true),
        (Requirement::NativeFormat, true, true),
    ] {
        let demand = asking(Tier::Open, None, &[requirement]);
        let met = [&none, &keyed, &tee, &all].map(|shown| demand.refuses(shown, NOW).is_none());
        assert_eq!(met, [false, false, by_tee, by_all], "{}", requirement.name());
        assert_eq!(demand.refuses(&none, NOW), Some(Reason::Lacks(requirement)));
        assert_eq!(Requirement::named(requirement.name()), Some(requirement));
    }
}

#[test]
fn what_is_wrong_in_two_ways_has_the_first_reason() {
    let stranger = Assurance::of(Guest::new(NOW).keyed(), NOW).self_enrolled();
    let demand = asking(Tier::Tee, Some(1), &[Requirement::Gpu]);
    assert_eq!(demand.refuses(&stranger, NOW + 600), Some(Reason::VerdictExpired));
    assert_eq!(demand.refuses(&stranger, NOW + 9), Some(Reason::TierTooLow));
    let open = asking(Tier::Open, Some(1), &[Requirement::Gpu]);
    assert_eq!(open.refuses(&stranger, NOW + 9), Some(Reason::SelfEnrolled));
    let tee = Assurance::of(Guest::new(NOW).verdict(), NOW);
    assert_eq!(demand.refuses(&tee, NOW + 9), Some(Reason::TooOld));
    assert_eq!(demand.refuses(&tee, NOW), Some(Reason::Lacks(Requirement::Gpu)));
}
