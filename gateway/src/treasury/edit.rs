//! What an operator wants of an account: the bodies of the admin API, and the flags of `mulberry account`.
//!
//! Amounts are text: a JSON number goes through a float in most programs, and comes out as another amount.
//! What is not mentioned stays as it is; `null` takes a bound away.

use std::{collections::BTreeMap, fmt};

use billing::{AccountId, AmountError, Budget, Currency, Level, Nano};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, Type},
};

use crate::directory::{check_count, check_text};

/// An amount in units of a currency, as text: `2.5`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Units(pub(crate) Nano);

/// Changes to a budget. All in units of the account's currency, in UTC's days and months.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BudgetEdit {
    /// For ever.
    #[serde(default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub(crate) total: Option<Option<Units>>,
    #[serde(default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub(crate) day: Option<Option<Units>>,
    #[serde(default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub(crate) month: Option<Option<Units>>,
}

/// Changes to an account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AccountEdit {
    /// What an organisation may owe beyond its deposits; `null` is without bound, and then it pays later.
    #[serde(default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub(crate) credit: Option<Option<Units>>,
    #[serde(default, skip_serializing_if = "BudgetEdit::is_empty")]
    pub(crate) budget: BudgetEdit,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) disabled: Option<bool>,
    /// All tags: those that are not among them go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tags: Option<BTreeMap<String, String>>,
}

/// An account that is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Founding {
    /// `org:NAME` or `team:ORGANISATION/TEAM`.
    pub(crate) id: String,
    /// Of an organisation; where it is not said, that of the section `ledger`. A team has its organisation's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) currency: Option<String>,
    #[serde(default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub(crate) credit: Option<Option<Units>>,
    #[serde(default, skip_serializing_if = "BudgetEdit::is_empty")]
    pub(crate) budget: BudgetEdit,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) disabled: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tags: Option<BTreeMap<String, String>>,
}

/// Money that comes in or goes out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Movement {
    /// Names it: said again with the same id, it is done once. Made here where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    pub(crate) amount: Units,
    /// Refused where it is not the account's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) currency: Option<String>,
    /// For people: an invoice, a reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) memo: Option<String>,
}

/// Why an account cannot be as an operator wants it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EditError {
    #[error(
        "{id:?} is no account that can be made or changed here: write org:NAME or team:ORGANISATION/TEAM, of letters, digits and `-_.`"
    )]
    Id { id: String },
    #[error("the budget of a key stands with the key: `mulberry key update {name} --budget-day AMOUNT`")]
    Key { name: String },
    #[error("{id} is an account of the ledger itself, which nobody changes by hand")]
    System { id: String },
    #[error("{code:?} is not the code of a currency: write three capital letters, such as USD or TON")]
    Currency { code: String },
    #[error("a team has the currency of its organisation; leave `currency` out")]
    CurrencyOfTeam,
    #[error("a team holds no money, so it has no credit; set it on {organisation}")]
    CreditOfTeam { organisation: AccountId },
    #[error("only an organisation holds money; name {organisation}")]
    MoneyOfTeam { organisation: AccountId },
    #[error("an amount of nothing moves nothing; write more than 0")]
    Nothing,
    #[error("the id of a movement has 1 to 128 letters, digits and `-_.:`")]
    MovementId,
    #[error("`{field}` is longer than 256 bytes, or holds a control character")]
    Text { field: &'static str },
    #[error("more than 256 {field} are too many")]
    TooMany { field: &'static str },
}

impl From<crate::directory::EditError> for EditError {
    fn from(error: crate::directory::EditError) -> Self {
        match error {
            crate::directory::EditError::TooMany { field } => Self::TooMany { field },
            crate::directory::EditError::Text { field } => Self::Text { field },
            _ => Self::Text { field: "tags" },
        }
    }
}

impl BudgetEdit {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn apply(&self, budget: &mut Budget) {
        let spans = [
            (self.total, &mut budget.total),
            (self.day, &mut budget.day),
            (self.month, &mut budget.month),
        ];
        for (wanted, bound) in spans {
            if let Some(wanted) = wanted {
                *bound = wanted.map(|units| units.0);
            }
        }
    }
}

impl AccountEdit {
    /// Refuses what no account of this level can have.
    pub(crate) fn check(&self, account: &AccountId) -> Result<(), EditError> {
        if self.credit.is_some()
            && let Some(organisation) = organisation_of_team(account)
        {
            return Err(EditError::CreditOfTeam { organisation });
        }
        if let Some(tags) = &self.tags {
            check_count("tags", tags.len())?;
            for (name, value) in tags {
                check_text("tags", name)?;
                check_text("tags", value)?;
            }
        }
        Ok(())
    }
}

impl Founding {
    /// Without its id and currency.
    pub(crate) fn edit(&self) -> AccountEdit {
        AccountEdit {
            credit: self.credit,
            budget: self.budget.clone(),
            disabled: self.disabled,
            tags: self.tags.clone(),
        }
    }
}

impl Movement {
    pub(crate) fn check(&self, account: &AccountId) -> Result<(), EditError> {
        if let Some(organisation) = organisation_of_team(account) {
            return Err(EditError::MoneyOfTeam { organisation });
        }
        if self.amount.0.is_zero() {
            return Err(EditError::Nothing);
        }
        if let Some(id) = &self.id {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
            if !(1..=128).contains(&id.len()) || !id.bytes().all(is_plain) {
                return Err(EditError::MovementId);
            }
        }
        if let Some(memo) = &self.memo {
            check_text("memo", memo)?;
        }
        Ok(())
    }
}

/// An organisation or a team; what has no prefix is taken for one of them.
pub(crate) fn account(text: &str) -> Result<AccountId, EditError> {
    let bad = || EditError::Id {
        id: text.chars().take(60).collect(),
    };
    let whole = match text {
        text if text.contains(':') => text.to_owned(),
        text if text.contains('/') => format!("team:{text}"),
        text => format!("org:{text}"),
    };
    let id: AccountId = whole.parse().map_err(|_| bad())?;
    match id.level() {
        Level::Organisation | Level::Team => Ok(id),
        Level::Key => Err(EditError::Key {
            name: id.name().to_owned(),
        }),
        Level::System => Err(EditError::System { id: id.to_string() }),
    }
}

pub(crate) fn currency(code: &str) -> Result<Currency, EditError> {
    code.parse().map_err(|_| EditError::Currency {
        code: code.chars().take(60).collect(),
    })
}

/// The organisation that a team belongs to; `None` for what is no team.
pub(crate) fn organisation_of_team(account: &AccountId) -> Option<AccountId> {
    if account.level() != Level::Team {
        return None;
    }
    let (organisation, _) = account.name().split_once('/')?;
    AccountId::organisation(organisation).ok()
}

impl std::str::FromStr for Units {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        text.parse().map(Self)
    }
}

/// All nine digits.
impl fmt::Display for Units {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Units {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Units {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = Units;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an amount as text, such as \"2.5\": a number would go through a float")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Units, E> {
                let shown: String = text.chars().take(60).collect();
                text.parse()
                    .map_err(|error| E::custom(format_args!("{shown:?} {error}")))
            }
        }
        from.deserialize_str(Text)
    }
}

impl PartialSchema for Units {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some(r"^[0-9]+(\.[0-9]{1,9})?$"))
            .into()
    }
}

impl ToSchema for Units {}

/// `null` is a value, and not the same as nothing.
pub(crate) fn some<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(from).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_as_people_write_them() {
        let check = |text: &str, expect: Option<&str>| {
            assert_eq!(account(text).ok().map(|id| id.to_string()).as_deref(), expect, "{text}");
        };
        check("org:acme", Some("org:acme"));
        check("acme", Some("org:acme"));
        check("acme/research", Some("team:acme/research"));
        check("team:acme/research", Some("team:acme/research"));
        for bad in [
            "",
            "org:",
            "team:acme",
            "a b",
            "acme/",
            "system:earnings",
            "key:alice",
            "org:a/b",
            "a:b",
        ] {
            check(bad, None);
        }
        assert!(
            account("key:alice")
                .expect_err("it is a key")
                .to_string()
                .contains("mulberry key update alice")
        );
    }

    #[test]
    fn amounts_are_text_and_exact() {
        let amount = |json: &str| serde_json::from_str::<Units>(json).map_err(|error| error.to_string());
        assert_eq!(amount(r#""2.5""#), Ok(Units(Nano::saturating(2_500_000_000))));
        for (json, what) in [
            ("2.5", "an amount as text"),
            ("3", "an amount as text"),
            (r#""1e9""#, r#""1e9" is not an amount"#),
            (r#""-1""#, r#""-1" is not an amount"#),
            (r#""0.0000000001""#, "up to nine after a point"),
            (r#""9223372036854775808""#, "the most that an amount can be"),
            (r#""9223372036.854775808""#, "the most that an amount can be"),
        ] {
            let error = amount(json).expect_err(json);
            assert!(error.contains(what), "{json}: {error}");
        }
    }

    #[test]
    fn what_is_not_mentioned_stays_and_null_takes_away() {
        let edit = |json: &str| serde_json::from_str::<AccountEdit>(json).expect("the shape is right");
        let mut budget = Budget {
            day: Some(Nano::saturating(7)),
            ..Budget::default()
        };
        edit("{}").budget.apply(&mut budget);
        assert_eq!(budget.day, Some(Nano::saturating(7)));
        edit(r#"{"budget": {"day": null, "month": "1"}}"#)
            .budget
            .apply(&mut budget);
        assert_eq!(
            (budget.day, budget.month),
            (None, Some(Nano::saturating(1_000_000_000)))
        );
        assert_eq!(edit(r#"{"credit": null}"#).credit, Some(None));
        assert!(serde_json::from_str::<AccountEdit>(r#"{"budget": {"week": "1"}}"#).is_err());
        let json = r#"{"credit":null,"budget":{"day":"2.500000000"},"disabled":true}"#;
        assert_eq!(serde_json::to_string(&edit(json)).expect("only texts"), json);
    }

    #[test]
    fn a_team_holds_no_money() {
        let team = account("acme/research").expect("a team");
        let movement = Movement {
            id: None,
            amount: Units(Nano::saturating(1)),
            currency: None,
            memo: None,
        };
        let error = movement.check(&team).expect_err("a team").to_string();
        assert_eq!(error, "only an organisation holds money; name org:acme");
        let organisation = account("acme").expect("an organisation");
        assert_eq!(movement.check(&organisation), Ok(()));
        let check = |movement: Movement, expect: EditError| assert_eq!(movement.check(&organisation), Err(expect));
        check(
            Movement {
                amount: Units(Nano::ZERO),
                ..movement.clone()
            },
            EditError::Nothing,
        );
        for id in ["", "a b", &"x".repeat(129)] {
            check(
                Movement {
                    id: Some(id.to_owned()),
                    ..movement.clone()
                },
                EditError::MovementId,
            );
        }
    }
}
