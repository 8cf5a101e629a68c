//! Which of the three programs somebody is.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Evidence says what it is for, so that a gateway's is never taken for a worker's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Gateway,
    Worker,
    Connect,
}

impl Role {
    pub const ALL: [Self; 3] = [Self::Gateway, Self::Worker, Self::Connect];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Worker => "worker",
            Self::Connect => "connect",
        }
    }

    /// The byte that stands for it in report data and claims.
    pub const fn code(self) -> u8 {
        match self {
            Self::Gateway => 1,
            Self::Worker => 2,
            Self::Connect => 3,
        }
    }

    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.code() == code)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
