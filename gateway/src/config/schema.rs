//! The two macros in which the schema is written: `section!` for a mapping, `choice!` for a word from a list.

/// A mapping of the file: the struct, how it is read and how it is printed, from one list of fields.
///
/// A field without a default must be written.
/// The function after `check` sees the whole section once its fields are read.
macro_rules! section {
    (
        $(#[$meta:meta])*
        $vis:vis struct $Name:ident {
            $($(#[$field_meta:meta])* $field:ident: $Type:ty $(= $default:expr)?,)*
        }
        $(check $check:expr)?
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        $vis struct $Name {
            $($(#[$field_meta])* $vis $field: $Type,)*
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

/// A word from a list: the enum, `as_str`, and reading with a suggestion.
macro_rules! choice {
    (
        $(#[$meta:meta])*
        $vis:vis enum $Name:ident {
            $($(#[$variant_meta:meta])* $Variant:ident = $word:literal,)*
        }
    ) => {
        $(#[$meta])*
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
    };
}

pub(super) use {choice, field, section};
