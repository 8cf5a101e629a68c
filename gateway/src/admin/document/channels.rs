//! The operations on payment channels, and the registry.

use openapi::document;
use utoipa::openapi::{Components, HttpMethod, Type};

use super::{Row, get, list, one};
use crate::admin::{channels::ChannelView, registry::RegistryView, wages::WageView};

pub(super) fn rows() -> Vec<Row> {
    let post = |row: Row| Row {
        method: HttpMethod::Post,
        ..row
    };
    vec![
        get(
            "/registry",
            "getRegistry",
            "The registry that takes away from what is allowed here; 404 without one",
            &[],
            one::<RegistryView>(),
        ),
        get(
            "/wages",
            "listWages",
            "What workers are paid: their channels, and what is owed beside",
            &[],
            list::<WageView>(),
        ),
        post(get(
            "/wages/{id}/lift",
            "liftQuarantine",
            "Let requests go again to a worker that took more than it earned",
            &[],
            one::<WageView>(),
        )),
        get(
            "/channels",
            "listChannels",
            "Payment channels that pay this gateway, by address",
            &[
                ("limit", "At most so many; 100 unless said", Type::Integer),
                ("after", "Those after this id, for the next page", Type::String),
            ],
            list::<ChannelView>(),
        ),
        get(
            "/channels/{id}",
            "getChannel",
            "One channel, with what anybody may hand to its contract",
            &[],
            one::<ChannelView>(),
        ),
        post(get(
            "/channels/{id}/settle",
            "settleChannel",
            "Sign what was spent so far; the settlement is in the answer",
            &[],
            one::<ChannelView>(),
        )),
        post(get(
            "/channels/{id}/close",
            "closeChannel",
            "Take no new work for a channel and sign its last take; 409 while requests run",
            &[],
            one::<ChannelView>(),
        )),
    ]
}

pub(super) fn register(components: &mut Components) {
    document::register::<ChannelView>(components);
    document::register::<WageView>(components);
    document::register::<RegistryView>(components);
}
