//! Status: how it stands with the gateway, for the app and for whoever looks.

use backends::body::BoxBody;
use http::{HeaderValue, Response, header};
use serde_json::{Map, Value, json};

use super::{Link, Standing, forward::via, link::Why};
use crate::{config::KeyDigest, rescue::full};

pub(super) const PATH: &str = "/mulberry/status";

pub(super) fn answer(link: &Link) -> Response<BoxBody> {
    let mut response = Response::new(full(document(link).to_string()));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// Nothing in it is of any request.
pub(crate) fn document(link: &Link) -> Value {
    let mut said = Map::new();
    let mut say = |name: &str, value: Value| said.insert(name.to_owned(), value);
    say("gateway", json!(link.gateway().address.as_str()));
    say("policy", json!(link.policy()));
    let standing = link.standing();
    let standing = standing.borrow().clone();
    let (word, why) = match standing {
        Standing::Up(up) => match up.attested() {
            Some(attested) => {
                let verdict = attested.verdict();
                say("via", json!(via(&up)));
                say("tier", json!(verdict.tier()));
                say("promise", json!(verdict.tier().promise()));
                say("image", json!(verdict.image()));
                say("expires", json!(verdict.expires()));
                say("key_sha256", json!(KeyDigest(*up.peer.spki_sha256()).to_string()));
                say("verdict", json!(verdict));
                ("verified", None)
            }
            None => ("late", None),
        },
        Standing::Dialling(why) => ("dialling", why),
        Standing::Refused(why) => ("refused", Some(why)),
    };
    say("standing", json!(word));
    if let Some(Why { code, sentence, .. }) = why {
        say("why", json!({ "code": code, "message": sentence }));
    }
    Value::Object(said)
}
