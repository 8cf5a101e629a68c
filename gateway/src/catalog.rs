//! Catalog: which models are offered, and by whom.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use backends::{
    attempt::Outbound,
    backend::Backend,
    route::{Leg, Route},
    upstream::Upstream,
    verdict::Tier,
};
use openapi::{
    endpoint::Endpoint,
    model::{Model as Card, Protection},
};

use crate::{
    config,
    pricing::{Price, Pricing},
    recount::{Vocabularies, Vocabulary},
};

/// A model, or all whose names begin alike, with its route and its price.
#[derive(Debug)]
pub(crate) struct Offer {
    /// A name, or a prefix and `*`.
    pub(crate) pattern: String,
    pub(crate) route: Route,
    /// Names of models to try when every leg failed.
    fallbacks: Vec<String>,
    /// What its use costs, whoever serves it.
    pub(crate) price: Option<Price>,
    /// Tokens of a prompt that is not plain text, at most.
    context: u64,
    /// Tokens of an answer, where an account is charged and the client set no bound.
    pub(crate) max_output: u64,
    tokenizer: Option<Arc<Vocabulary>>,
}

/// All offers. One snapshot serves a request from beginning to end.
#[derive(Debug)]
pub(crate) struct Catalog {
    pub(crate) backends: Vec<Arc<Backend>>,
    exact: HashMap<String, Arc<Offer>>,
    /// Offers with a `*`, the longest prefix first.
    prefixes: Vec<(String, Arc<Offer>)>,
    /// In the order of the configuration; what `/v1/models` lists.
    names: Vec<String>,
    created: u64,
    pub(crate) pricing: Pricing,
}

/// Of what the configuration does not describe.
const CONTEXT: u64 = 131_072;
const MAX_OUTPUT: u64 = 4096;

impl Offer {
    pub(crate) fn is_pattern(&self) -> bool {
        self.pattern.ends_with('*')
    }

    /// The legs with the name that each backend has for `model`: what stands for the `*` of the offer stands for that of the leg.
    fn name_legs(&self, legs: &mut [Leg], model: Option<&str>) {
        let Some(start) = self.pattern.strip_suffix('*') else {
            return;
        };
        for leg in legs {
            if let Some(there) = leg.model.as_deref().and_then(|there| there.strip_suffix('*')) {
                let rest = model.and_then(|model| model.strip_prefix(start));
                // An alias of a pattern, and a request without a model, are passed on as they are.
                leg.model = rest.map(|rest| format!("{there}{rest}").into());
            }
        }
    }
}

impl Catalog {
    /// `created` is the time, in unix seconds, that listed models carry.
    pub(crate) fn new(
        backends: Vec<Arc<Backend>>,
        models: &[config::Model],
        ledger: &config::Ledger,
        vocabularies: &Vocabularies,
        created: u64,
    ) -> Self {
        let mut catalog = Self {
            exact: HashMap::new(),
            prefixes: Vec::new(),
            names: Vec::new(),
            created,
            pricing: Pricing::new(ledger),
            backends,
        };
        for model in models {
            catalog.add(model, vocabularies);
        }
        if models.is_empty() {
            let legs = catalog.backends.iter().zip(0..).map(|(backend, priority)| Leg {
                backend: backend.clone(),
                model: None,
                weight: 1,
                priority,
            });
            let everything = Offer {
                pattern: "*".to_owned(),
                route: Route::new(legs.collect()),
                fallbacks: Vec::new(),
                price: None,
                context: CONTEXT,
                max_output: MAX_OUTPUT,
                tokenizer: None,
            };
            catalog.prefixes.push((String::new(), Arc::new(everything)));
        }
        catalog
            .prefixes
            .sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        catalog
    }

    fn add(&mut self, model: &config::Model, vocabularies: &Vocabularies) {
        let legs = model.routes.iter().filter_map(|route| {
            let backend = self.backends.iter().find(|backend| *backend.name == *route.backend)?;
            Some(Leg {
                backend: backend.clone(),
                // A name that the client used under an alias must become the model's own.
                model: route
                    .model
                    .as_deref()
                    .or((!model.aliases.is_empty()).then_some(&*model.name))
                    .map(Arc::from),
                weight: route.weight,
                priority: route.priority,
            })
        });
        let offer = Arc::new(Offer {
            pattern: model.name.clone(),
            route: Route::new(legs.collect()),
            fallbacks: model.fallbacks.clone(),
            price: model.price.as_ref().map(Price::new),
            context: model.context.into(),
            max_output: model.max_output.into(),
            tokenizer: model.tokenizer.as_deref().and_then(|name| vocabularies.of(name)),
        });
        match model.name.strip_suffix('*') {
            Some(prefix) => self.prefixes.push((prefix.to_owned(), offer.clone())),
            None => {
                self.names.push(model.name.clone());
                self.exact.insert(model.name.clone(), offer.clone());
            }
        }
        for alias in &model.aliases {
            self.names.push(alias.clone());
            self.exact.insert(alias.clone(), offer.clone());
        }
    }

    /// The offer for a name: its own, else that of the longest prefix.
    pub(crate) fn offer(&self, model: &str) -> Option<&Arc<Offer>> {
        self.exact.get(model).or_else(|| {
            let by_prefix = self
                .prefixes
                .iter()
                .find(|(prefix, _)| model.starts_with(prefix.as_str()));
            by_prefix.map(|(_, offer)| offer)
        })
    }

    /// Whether a name is listed rather than matched by a pattern.
    pub(crate) fn offers(&self) -> impl Iterator<Item = &Arc<Offer>> {
        self.exact.values().chain(self.prefixes.iter().map(|(_, offer)| offer))
    }

    pub(crate) fn is_listed(&self, model: &str) -> bool {
        self.exact.contains_key(model)
    }

    /// The offer for an operation that names no model: every backend that serves the family, in order.
    pub(crate) fn offer_without_model(&self, endpoint: Endpoint) -> Option<Offer> {
        let serving = self.backends.iter().filter(|backend| backend.serves(endpoint));
        let legs: Vec<Leg> = serving
            .zip(0..)
            .map(|(backend, priority)| Leg {
                backend: backend.clone(),
                model: None,
                weight: 1,
                priority,
            })
            .collect();
        (!legs.is_empty()).then(|| Offer {
            pattern: String::new(),
            route: Route::new(legs),
            fallbacks: Vec::new(),
            price: None,
            context: CONTEXT,
            max_output: MAX_OUTPUT,
            tokenizer: None,
        })
    }

    /// What counts the tokens of whichever model answers; `None` where the fallbacks have another one.
    pub(crate) fn tokenizer(&self, offer: &Offer) -> Option<Arc<Vocabulary>> {
        let own = offer.tokenizer.as_ref()?;
        let mut fallbacks = offer.fallbacks.iter().filter_map(|name| self.offer(name));
        let is_same = |other: &Arc<Offer>| other.tokenizer.as_ref().is_some_and(|other| Arc::ptr_eq(own, other));
        fallbacks.all(is_same).then(|| own.clone())
    }

    /// The largest context window among the models that may answer: the offer's own and its fallbacks.
    pub(crate) fn context(&self, offer: &Offer) -> u64 {
        let fallbacks = offer.fallbacks.iter().filter_map(|name| self.offer(name));
        fallbacks.map(|fallback| fallback.context).fold(offer.context, u64::max)
    }

    /// The legs to try for a call, in order, each model's apart: the offer's own, then those of its fallbacks.
    pub(crate) fn plan(&self, offer: &Offer, outbound: &Outbound) -> Vec<Vec<Leg>> {
        let mut plan = vec![self.legs(offer, outbound.model.as_deref(), outbound)];
        for fallback in &offer.fallbacks {
            let Some(offer) = self.offer(fallback) else { continue };
            let mut legs = self.legs(offer, Some(fallback), outbound);
            for leg in &mut legs {
                leg.model.get_or_insert_with(|| fallback.as_str().into());
            }
            plan.push(legs);
        }
        plan
    }

    fn legs(&self, offer: &Offer, model: Option<&str>, outbound: &Outbound) -> Vec<Leg> {
        let mut legs = offer.route.order(outbound.operation.endpoint);
        offer.name_legs(&mut legs, model);
        if legs.len() > 1 && outbound.json().is_some_and(|body| body.choices() > 1) {
            // Those that give one answer whatever is asked come last.
            legs.sort_by_key(|leg| !leg.backend.capabilities.n);
        }
        if let (true, Some(model), true) = (offer.is_pattern(), model, legs.len() > 1) {
            // Under a pattern a backend that lists the name comes before one that does not.
            let lists = |leg: &Leg| lists(&leg.backend, leg.model.as_deref().unwrap_or(model));
            legs.sort_by_key(|leg| (leg.priority, !lists(leg)));
            if offer.pattern == "*" {
                legs.sort_by_key(|leg| !lists(leg));
            }
        }
        legs
    }

    /// The models that an account sees: the configured names, and under patterns what the upstreams list.
    pub(crate) fn cards(&self, may_use: impl Fn(&str) -> bool) -> Vec<Card> {
        let named = self.names.iter().filter(|name| may_use(name)).map(|name| {
            let mut card = Card::new(name.clone(), self.created, "mulberry");
            let legs = self.exact.get(name).map_or(&[][..], |offer| offer.route.legs());
            card.protection = Some(protection(legs.iter().flat_map(|leg| &leg.backend.upstreams)));
            card
        });
        let mut cards: Vec<Card> = named.collect();
        for (prefix, offer) in &self.prefixes {
            for leg in offer.route.legs() {
                let renamed = leg.model.as_deref().and_then(|there| there.strip_suffix('*'));
                for card in listed(&leg.backend) {
                    let id = match renamed {
                        Some(start) => match card.id.strip_prefix(start) {
                            Some(rest) => format!("{prefix}{rest}"),
                            None => continue,
                        },
                        None => card.id.clone(),
                    };
                    let is_new = !cards.iter().any(|other| other.id == id);
                    if is_new && id.starts_with(prefix.as_str()) && may_use(&id) {
                        let created = if card.created == 0 { self.created } else { card.created };
                        let serving = leg.backend.upstreams.iter().filter(|upstream| has(upstream, &card.id));
                        let protection = protection(serving);
                        cards.push(Card {
                            protection: Some(protection),
                            ..Card::new(id, created, leg.backend.name.to_string())
                        });
                    }
                }
            }
        }
        cards
    }
}

fn lists(backend: &Backend, model: &str) -> bool {
    backend.upstreams.iter().any(|upstream| has(upstream, model))
}

fn has(upstream: &Upstream, model: &str) -> bool {
    upstream.models.load().iter().any(|card| card.id == model)
}

/// What protects prompts at those of them that serve now.
fn protection<'a>(serving: impl Iterator<Item = &'a Arc<Upstream>>) -> Protection {
    let tiers: BTreeSet<Tier> = serving.filter_map(|upstream| upstream.tier_in_use()).collect();
    Protection {
        tier: tiers.last().copied().map(Tier::name),
        tiers: tiers.into_iter().map(Tier::name).collect(),
    }
}

fn listed(backend: &Backend) -> Vec<Card> {
    let lists = backend.upstreams.iter().map(|upstream| upstream.models.load_full());
    lists
        .flat_map(|list| list.iter().cloned().collect::<Vec<_>>())
        .collect()
}
