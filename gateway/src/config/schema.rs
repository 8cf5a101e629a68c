//! The two macros in which the schema is written: `section!` for a mapping, `choice!` for a word from a list.

/// A mapping of the file: the struct, how it is read, how it is printed and how it is described, from one list of fields.
///
/// A field without a default must be written.
/// Doc comments become the descriptions of the JSON Schema, so they speak to operators.
/// The function after `check` sees the whole section once its fields are read.
macro_rules! section {
    (
        $(#[doc = $doc:expr])*
        $vis:vis struct $Name:ident {
            $($(#[doc = $field_doc:expr])* $field:ident: $Type:ty $(= $default:expr)?,)*
        }
        $(check $check:expr)?
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        $vis struct $Name {
            $($(#[doc = $field_doc])* $vis $field: $Type,)*
        }

        impl $crate::config::decode::Decode for $Name {
            const FIELDS: &'static [&'static str] = &[$(stringify!($field),)*];
            const IS_MAPPING: bool = true;

            fn decode(
                node: &$crate::config::document::Node,
                key: &str,
                problems: &mut $crate::config::problem::Problems,
            ) -> Option<Self> {
                let mut section = $crate::config::decode::Section::open(node, key, problems);
                let read = Self {
                    $($field: $crate::config::schema::field!(section, problems, $field $(, $default)?),)*
                };
                $($check(&read, &section, problems);)?
                section.close(problems);
                Some(read)
            }
        }

        impl $crate::config::show::Show for $Name {
            fn show(&self) -> $crate::config::show::Shown {
                $crate::config::show::Shown::Map(vec![
                    $((
                        stringify!($field).to_owned(),
                        $crate::config::show::Show::show(&self.$field),
                    ),)*
                ])
            }
        }

        impl $crate::config::describe::Describe for $Name {
            fn describe(definitions: &mut $crate::config::describe::Definitions) -> serde_json::Value {
                definitions.mapping(stringify!($Name), |definitions| {
                    let mut mapping = $crate::config::describe::Mapping::new(&[$($doc,)*]);
                    $($crate::config::schema::described!(
                        mapping, definitions, $field, $Type, [$($field_doc,)*] $(, $default)?
                    );)*
                    mapping.build(&[])
                })
            }
        }
    };
}

macro_rules! field {
    ($section:ident, $problems:ident, $field:ident) => {
        $section.required(stringify!($field), $problems)
    };
    ($section:ident, $problems:ident, $field:ident, $default:expr) => {
        $section.or(stringify!($field), $default, $problems)
    };
}

macro_rules! described {
    ($mapping:ident, $definitions:ident, $field:ident, $Type:ty, [$($doc:expr,)*]) => {
        $mapping.required::<$Type>(stringify!($field), &[$($doc,)*], $definitions)
    };
    ($mapping:ident, $definitions:ident, $field:ident, $Type:ty, [$($doc:expr,)*], $default:expr) => {{
        let default: $Type = $default;
        let default = $crate::config::show::Show::show(&default);
        $mapping.or::<$Type>(stringify!($field), &[$($doc,)*], &default, $definitions)
    }};
}

/// A word from a list: the enum, `as_str`, reading with a suggestion, and the list for the JSON Schema.
macro_rules! choice {
    (
        $(#[doc = $doc:expr])*
        $vis:vis enum $Name:ident {
            $($(#[$variant_meta:meta])* $Variant:ident = $word:literal,)*
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        $vis enum $Name {
            $($(#[$variant_meta])* $Variant,)*
        }

        impl $Name {
            $vis const ALL: &[Self] = &[$(Self::$Variant,)*];

            $vis const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$Variant => $word,)*
                }
            }
        }

        impl $crate::config::decode::Decode for $Name {
            fn decode(
                node: &$crate::config::document::Node,
                key: &str,
                problems: &mut $crate::config::problem::Problems,
            ) -> Option<Self> {
                const WORDS: &[&str] = &[$($word,)*];
                let text = $crate::config::decode::scalar(node, key, "a word", problems)?;
                let found = Self::ALL.iter().find(|choice| choice.as_str() == text).copied();
                if found.is_none() {
                    let fix = match $crate::config::problem::nearest(text, WORDS) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => {
                            format!("write one of {}", $crate::config::decode::listed(WORDS))
                        }
                    };
                    let message = format!("{} is not known here", node.quoted());
                    problems.report(&node.place, key, message, fix);
                }
                found
            }
        }

        impl $crate::config::show::Show for $Name {
            fn show(&self) -> $crate::config::show::Shown {
                $crate::config::show::Shown::Plain(self.as_str().to_owned())
            }
        }

        impl $crate::config::describe::Describe for $Name {
            fn describe(_: &mut $crate::config::describe::Definitions) -> serde_json::Value {
                $crate::config::describe::words(&[$($word,)*], &[$($doc,)*])
            }
        }
    };
}

pub(super) use {choice, described, field, section};
