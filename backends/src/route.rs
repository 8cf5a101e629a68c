//! Which backends serve a model, and in what order.

use std::sync::Arc;

use openapi::endpoint::Endpoint;

use crate::backend::Backend;

/// A backend on a route.
#[derive(Debug, Clone)]
pub struct Leg {
    pub backend: Arc<Backend>,
    /// The model's name there; `None` keeps the name that the client used.
    pub model: Option<Arc<str>>,
    pub weight: u32,
    /// Lower is earlier; equals share the load by weight.
    pub priority: u32,
}

/// The ordered backends that serve a model.
#[derive(Debug, Clone, Default)]
pub struct Route {
    legs: Vec<Leg>,
}

impl Route {
    pub fn new(mut legs: Vec<Leg>) -> Self {
        legs.sort_by_key(|leg| leg.priority);
        Self { legs }
    }

    pub fn legs(&self) -> &[Leg] {
        &self.legs
    }

    pub fn serves(&self, endpoint: Endpoint) -> bool {
        self.legs.iter().any(|leg| leg.backend.serves(endpoint))
    }

    /// The legs that serve an endpoint, in the order to try them: by priority, equals shuffled by weight.
    pub fn order(&self, endpoint: Endpoint) -> Vec<Leg> {
        let mut order: Vec<Leg> = self
            .legs
            .iter()
            .filter(|leg| leg.backend.serves(endpoint))
            .cloned()
            .collect();
        if order.len() > 1 {
            for group in order.chunk_by_mut(|one, other| one.priority == other.priority) {
                shuffle(group);
            }
        }
        order
    }
}

/// A weighted shuffle: each place goes to one of the rest with a chance in proportion to its weight.
fn shuffle(group: &mut [Leg]) {
    for start in 0..group.len() {
        let rest = &group[start..];
        let total: u64 = rest.iter().map(|leg| u64::from(leg.weight)).sum();
        if total == 0 {
            return;
        }
        let mut ticket = fastrand::u64(..total);
        let chosen = rest.iter().position(|leg| {
            let weight = u64::from(leg.weight);
            let won = ticket < weight;
            ticket = ticket.saturating_sub(weight);
            won
        });
        group.swap(start, start + chosen.unwrap_or(0));
    }
}
