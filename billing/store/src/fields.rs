//! Rows of either database as plain values.

use std::str::FromStr;

use sqlx::Row;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;

use crate::reader::ReadError;

/// A row. Both databases have one integer, of 64 bits; a value that does not fit ours was not written by us.
pub(crate) trait Fields {
    fn maybe_int(&self, column: &'static str) -> Result<Option<i64>, ReadError>;
    fn maybe_text(&self, column: &'static str) -> Result<Option<String>, ReadError>;
    fn maybe_bytes(&self, column: &'static str) -> Result<Option<Vec<u8>>, ReadError>;
    fn flag(&self, column: &'static str) -> Result<bool, ReadError>;

    fn int(&self, column: &'static str) -> Result<i64, ReadError> {
        self.maybe_int(column)?.ok_or(ReadError::Row { column })
    }

    fn text(&self, column: &'static str) -> Result<String, ReadError> {
        self.maybe_text(column)?.ok_or(ReadError::Row { column })
    }

    fn bytes(&self, column: &'static str) -> Result<Vec<u8>, ReadError> {
        self.maybe_bytes(column)?.ok_or(ReadError::Row { column })
    }

    /// An integer of another size.
    fn narrow<T: TryFrom<i64>>(&self, column: &'static str) -> Result<T, ReadError> {
        T::try_from(self.int(column)?).map_err(|_| ReadError::Row { column })
    }

    fn maybe_narrow<T: TryFrom<i64>>(&self, column: &'static str) -> Result<Option<T>, ReadError> {
        let value = self.maybe_int(column)?.map(T::try_from);
        value.transpose().map_err(|_| ReadError::Row { column })
    }

    /// A text that is one of some words.
    fn word<T: FromStr>(&self, column: &'static str) -> Result<T, ReadError> {
        self.text(column)?.parse().map_err(|_| ReadError::Row { column })
    }
}

macro_rules! fields {
    ($row:ty) => {
        impl Fields for $row {
            fn maybe_int(&self, column: &'static str) -> Result<Option<i64>, ReadError> {
                Ok(self.try_get(column)?)
            }

            fn maybe_text(&self, column: &'static str) -> Result<Option<String>, ReadError> {
                Ok(self.try_get(column)?)
            }

            fn maybe_bytes(&self, column: &'static str) -> Result<Option<Vec<u8>>, ReadError> {
                Ok(self.try_get(column)?)
            }

            fn flag(&self, column: &'static str) -> Result<bool, ReadError> {
                Ok(self.try_get(column)?)
            }
        }
    };
}

fields!(SqliteRow);
fields!(PgRow);
