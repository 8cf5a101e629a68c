//! A database for one test: a file in a folder of its own, or a database of its own in PostgreSQL.

use test_postgres::Server;

use super::scratch::Scratch;
use crate::pool::{Pool, both};
use crate::{Location, Reader, Store};

pub(crate) struct Scene {
    pub(crate) location: Location,
    _folder: Option<Scratch>,
}

impl Scene {
    pub(crate) fn sqlite() -> Self {
        let folder = Scratch::new();
        Self {
            location: folder.path("mulberry.db").into(),
            _folder: Some(folder),
        }
    }

    /// `None` where the machine has no PostgreSQL, which was said then.
    pub(crate) fn postgres() -> Option<Self> {
        let url = Server::shared()?.database();
        Some(Self {
            location: Location::Postgres(url.parse().expect("the server's URLs are whole")),
            _folder: None,
        })
    }

    /// An empty database of the same kind.
    pub(crate) fn another(&self) -> Option<Self> {
        match self.location {
            Location::File(_) => Some(Self::sqlite()),
            Location::Postgres(_) => Self::postgres(),
        }
    }

    pub(crate) async fn open(&self) -> Store {
        Store::open(&self.location).await.expect("it opens for writing")
    }

    pub(crate) async fn read(&self) -> Reader {
        Reader::open(&self.location).await.expect("it opens for reading")
    }
}

/// Does what only an operator with a tool of the database's own would.
pub(crate) async fn by_hand(pool: &Pool, sql: &'static str) -> Result<(), sqlx::Error> {
    both!(*pool, pool => sqlx::query(sql).execute(pool).await.map(drop))
}

/// Each test once on SQLite and once on PostgreSQL. It is a function of a [`Scene`].
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::tests::scene::Scene::sqlite()).await;
            })*
        }

        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if let Some(scene) = $crate::tests::scene::Scene::postgres() {
                    super::$name(scene).await;
                }
            })*
        }
    };
}

pub(crate) use on_both;
