//! Records of requests, as `mulberry usage` prints them.

use std::collections::BTreeMap;
use std::process::Command;

use e2e::process::mulberry;
use e2e::wait::SOON;
use e2e::{Gateway, eventually};

/// One line of `mulberry usage --recent`.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) id: String,
    pub(crate) model: String,
    pub(crate) status: u16,
    pub(crate) end: String,
    fields: BTreeMap<String, String>,
}

impl Record {
    fn parse(line: &str) -> Self {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_started, id, _endpoint, model, status, end, fields @ ..] = words.as_slice() else {
            panic!("not a record: {line}");
        };
        let fields = fields.iter().filter_map(|field| field.split_once('='));
        Self {
            id: (*id).to_owned(),
            model: (*model).to_owned(),
            status: status.parse().expect("a status is a number"),
            end: (*end).to_owned(),
            fields: fields
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        }
    }

    /// A field that is written as `name=value`; empty if it is absent.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    pub(crate) fn number(&self, name: &str) -> u64 {
        let number = self.field(name).parse();
        number.unwrap_or_else(|_| panic!("`{name}` is not a number in {self:?}"))
    }

    /// Prompt, cached, completion and reasoning tokens.
    pub(crate) fn usage(&self) -> [u64; 4] {
        ["prompt", "cached", "completion", "reasoning"].map(|class| self.number(class))
    }
}

pub(crate) fn all(gateway: &Gateway) -> Vec<Record> {
    gateway.records().iter().map(|line| Record::parse(line)).collect()
}

/// The one record of a request that has ended; it is written a moment later.
pub(crate) async fn of(gateway: &Gateway, id: &str) -> Record {
    let mut found = Vec::new();
    let written = eventually(SOON, || {
        found = all(gateway);
        found.retain(|record| record.id == id);
        !found.is_empty()
    });
    assert!(written.await, "no record of {id} in {:#?}", all(gateway));
    assert_eq!(found.len(), 1, "{found:#?}");
    found.remove(0)
}

/// The first column and the rest of each line of `mulberry usage --by GROUP`, the heading left out.
pub(crate) fn sums(gateway: &Gateway, group: &str) -> BTreeMap<String, Vec<u64>> {
    let shown = Command::new(mulberry())
        .args(["usage", "--by", group, "--database"])
        .arg(gateway.database())
        .output()
        .expect("the binary has started before");
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    let rows = text.lines().skip(1).map(|line| {
        let mut words = line.split_whitespace();
        let name = words.next().expect("a row has a name").to_owned();
        let numbers = words.map(|word| word.parse().unwrap_or_else(|_| panic!("not a number in: {line}")));
        (name, numbers.collect())
    });
    rows.collect()
}
