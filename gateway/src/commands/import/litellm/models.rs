//! From deployments to models: the same name twice is one model with several routes.

use super::super::{
    decimal,
    draft::{Model, Route},
    fields::Field,
    report::Report,
};
use super::deployment::Deployment;

/// How LiteLLM chooses among the deployments of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    /// At random, by weight: what routes of equal priority do.
    Shuffle,
    /// By what each is doing: what upstreams of one backend do.
    Observed,
}

pub(super) fn group(deployments: Vec<Deployment<'_>>, choice: Choice, report: &mut Report) -> Vec<Model> {
    let mut groups: Vec<Vec<Deployment<'_>>> = Vec::new();
    for deployment in deployments {
        match groups.iter_mut().find(|group| group[0].name == deployment.name) {
            Some(group) => group.push(deployment),
            None => groups.push(vec![deployment]),
        }
    }
    groups.into_iter().map(|group| model(group, choice, report)).collect()
}

fn model(group: Vec<Deployment<'_>>, choice: Choice, report: &mut Report) -> Model {
    let weights = weights(&group, choice, report);
    let last = group.iter().filter_map(|deployment| deployment.order).max();
    let mut model = Model {
        name: group[0].name.clone(),
        aliases: Vec::new(),
        routes: Vec::new(),
        fallbacks: Vec::new(),
        price: Vec::new(),
    };
    for (deployment, weight) in group.into_iter().zip(weights) {
        // LiteLLM asks those without an order when those with one are gone.
        let priority = deployment
            .order
            .or(last.map(|last| last.saturating_add(1)))
            .unwrap_or(0);
        let (weight, priority) = match weight {
            0 => {
                report.note(
                    &deployment.whole,
                    "its weight is 0: it is tried when the others have failed",
                );
                (1, last.unwrap_or(0).saturating_add(2))
            }
            weight => (weight, priority),
        };
        if model.price.is_empty() {
            model.price = deployment.price;
        } else if !deployment.price.is_empty() && model.price != deployment.price {
            let why = format!(
                "`{}` has one price, that of its first deployment",
                model.name.escape_debug()
            );
            report.lost(&deployment.whole, why);
        }
        let route = Route {
            model: upstream_name(&model.name, &deployment.model),
            backend: deployment.backend,
            weight,
            priority,
        };
        add(&mut model.routes, route, choice);
    }
    model
}

/// A route of its own, or another upstream of the backend that is like it in all but its address.
fn add(routes: &mut Vec<Route>, mut route: Route, choice: Choice) {
    let alike = routes.iter_mut().find(|other| {
        let mut same = other.backend.clone();
        same.upstreams.clone_from(&route.backend.upstreams);
        same.label.clone_from(&route.backend.label);
        same == route.backend && (&other.model, other.priority) == (&route.model, route.priority)
    });
    match alike {
        Some(other) if choice == Choice::Observed => {
            let known: Vec<_> = other
                .backend
                .upstreams
                .iter()
                .map(|upstream| upstream.url.clone())
                .collect();
            for mut upstream in route.backend.upstreams {
                if !known.contains(&upstream.url) {
                    upstream.weight = route.weight;
                    other.backend.upstreams.push(upstream);
                }
            }
        }
        Some(other) if other.backend == route.backend => {
            other.weight = other.weight.saturating_add(route.weight);
        }
        _ => {
            if choice == Choice::Observed {
                for upstream in &mut route.backend.upstreams {
                    upstream.weight = route.weight;
                }
                route.weight = 1;
            }
            routes.push(route);
        }
    }
}

/// What a backend calls the model that clients call `name`; `None` where it is the same.
fn upstream_name(name: &str, there: &str) -> Option<String> {
    // `*` with `openai/*`, and `gpt-*` with `openai/gpt-*`, send the name as it came.
    (name != there).then(|| there.to_owned())
}

/// By `weight`; in a shuffle else by `rpm`, else by `tpm`, as LiteLLM does where all have one.
fn weights(group: &[Deployment<'_>], choice: Choice, report: &mut Report) -> Vec<u32> {
    let text = |field: &Option<Field<'_>>| field.as_ref().and_then(Field::text).map(str::to_owned);
    let all = |texts: Vec<Option<String>>| texts.into_iter().collect::<Option<Vec<String>>>();
    let stated = if group.iter().any(|one| one.weight.is_some()) {
        // One that says nothing counts once.
        let weights = group
            .iter()
            .map(|one| text(&one.weight).unwrap_or_else(|| "1".to_owned()));
        Some(weights.collect())
    } else if choice == Choice::Shuffle && group.len() > 1 {
        all(group.iter().map(|one| text(&one.rpm)).collect())
            .or_else(|| all(group.iter().map(|one| text(&one.tpm)).collect()))
    } else {
        None
    };
    let read = stated.as_ref().and_then(|stated: &Vec<String>| {
        let texts: Vec<&str> = stated.iter().map(String::as_str).collect();
        decimal::proportions(&texts)
    });
    for deployment in group {
        if let (Some(weight), Some(_), None) = (&deployment.weight, &stated, &read) {
            report.lost(weight, "the weights are not numbers; each is 1");
        }
        for field in [&deployment.rpm, &deployment.tpm].into_iter().flatten() {
            let share = if deployment.weight.is_none() && read.is_some() {
                "upstreams have no rate limits; where all have one it is the share that each gets"
            } else {
                "upstreams have no rate limits; see concurrency.limit, and the limits of keys"
            };
            report.lost(field, share);
        }
    }
    match read {
        Some(weights) if weights.iter().any(|weight| *weight > 0) => weights,
        _ => vec![1; group.len()],
    }
}
