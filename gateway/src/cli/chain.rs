//! The flags by which commands name a chain.

use std::path::PathBuf;

use clap::Args;

use crate::chain_source::ChainFrom;

#[derive(Debug, Args)]
pub(crate) struct ChainFlags {
    /// Who tells of the chain: the URL of a toncenter API of version 2; a second one is asked where much is at stake [default: toncenter.com's of the network]
    #[arg(long, global = true, env = "MULBERRY_CHAIN", value_delimiter = ',', value_parser = ChainFrom::parse, value_name = "SOURCE")]
    pub(crate) chain: Vec<ChainFrom>,
    /// A file with the API key for it, that only you may read; otherwise MULBERRY_CHAIN_API_KEY is taken
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) chain_api_key_file: Option<PathBuf>,
}
