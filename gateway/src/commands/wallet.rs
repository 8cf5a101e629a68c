//! `mulberry wallet`: a key file, its address, what is there.
//!
//! The 24 words are printed by `create`, once, and by `words` to who was asked twice; the key itself never.

use std::{
    fs::File,
    io::{self, IsTerminal as _, Read},
    path::{Path, PathBuf},
};

use backends::serve::BoxError;
use billing::{
    channel::{Account, Network},
    receipt::to_hex,
};
use billing_ton::{
    Mnemonic, Seed, Wallet,
    address::{self, Bounce, Friendly},
    keyfile::Secret,
    mnemonic::MnemonicError,
};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{
    columns::list,
    place::{tell, write},
    qr,
};
use crate::{
    chain_source::ChainSource,
    cli::{
        key::Output,
        wallet::{WalletArgs, WalletCommand},
    },
    config::Process,
    passphrase::Source,
    terminal::{self, AskError},
    wallet_file::{WalletFile, place, vacant},
};

/// Far more than words or a key have.
const MAX_INPUT: u64 = 4096;

#[derive(Debug, thiserror::Error)]
enum WalletCommandError {
    #[error("no wallet can be made")]
    Make(#[source] BoxError),
    #[error("cannot read '{}'", path.display())]
    From { path: PathBuf, source: io::Error },
    #[error("cannot read standard input")]
    Stdin(#[source] io::Error),
    #[error("the words or the key must be typed, and {0}; pipe them in, or name a file with --from")]
    Ask(#[source] AskError),
    #[error("what was given is neither 24 words nor a private key of 64 hexadecimal digits")]
    Words(#[source] MnemonicError),
    #[error(
        "this wallet was taken over by its private key and has no words; keep a copy of the key file '{}' and its passphrase",
        .0.display()
    )]
    NoWords(PathBuf),
    #[error("the words were not shown; there is nobody to ask at a terminal, so ask twice yourself with --show")]
    Unasked,
    #[error("the words were not shown")]
    Unconfirmed,
}

pub(super) async fn run(args: WalletArgs) -> Result<(), BoxError> {
    let output = args.output;
    let network = args.wallet.network;
    let path = place(args.wallet.wallet, &Process)?;
    let passphrase = Source {
        file: args.wallet.passphrase_file.as_deref(),
        environment: &Process,
    };
    match args.command {
        WalletCommand::Create => {
            // Before the words are drawn: nobody should be asked for nothing.
            vacant(&path)?;
            let words = Mnemonic::generate().map_err(|error| WalletCommandError::Make(error.into()))?;
            let file = WalletFile::create(&path, &Secret::Words(words.clone()), &passphrase)?;
            created(output, &file, network, &words)
        }
        WalletCommand::Import { from } => {
            vacant(&path)?;
            let secret = given(from.as_deref())?;
            let file = WalletFile::create(&path, &secret, &passphrase)?;
            imported(output, &file, network)
        }
        WalletCommand::Address { qr } => addressed(output, &WalletFile::read(path)?.wallet(network), qr),
        WalletCommand::Balance { chain } => {
            let wallet = WalletFile::read(path)?.wallet(network);
            let source = ChainSource::new(&chain.chain, chain.chain_api_key_file.as_deref(), network, &Process)?;
            balance(output, &wallet, &source).await
        }
        WalletCommand::Words { show } => words(output, &WalletFile::read(path)?, &passphrase, show),
    }
}

/// A wallet must be given out as one that keeps what comes before it is there.
pub(super) fn shown(account: Account, network: Network) -> String {
    Friendly::new(account, network, Bounce::Keep).to_string()
}

fn facts(file: &WalletFile, network: Network) -> Value {
    let wallet = file.wallet(network);
    json!({
        "file": file.path().display().to_string(),
        "network": network.to_string(),
        "address": shown(wallet.account(), network),
        "raw": address::raw(&wallet.account()),
        "public_key": to_hex(wallet.public_key()),
    })
}

fn summary(file: &WalletFile, network: Network) -> String {
    let wallet = file.wallet(network);
    list(&[
        ("file", file.path().display().to_string()),
        ("network", name(network)),
        ("address", shown(wallet.account(), network)),
    ])
}

/// A network as people call it.
pub(super) fn name(network: Network) -> String {
    match network {
        Network::MAINNET => "mainnet".to_owned(),
        Network::TESTNET => "testnet".to_owned(),
        other => other.to_string(),
    }
}

fn created(output: Output, file: &WalletFile, network: Network, words: &Mnemonic) -> Result<(), BoxError> {
    if output == Output::Json {
        let mut facts = facts(file, network);
        facts["words"] = Value::String(words.reveal().to_string());
        return write(&format!("{facts:#}\n"));
    }
    write(&summary(file, network))?;
    write("\nWrite these 24 words on paper, in this order, and show them to nobody:\n\n")?;
    write(&numbered(words))?;
    write(
        "\nWhoever has the words has the coins.\n\
         Without them, and without the file and its passphrase, the coins are lost: nobody can give them back.\n\
         Any TON wallet program that knows W5 restores this wallet from them.\n\
         Next: send GRAM (TON) to the address.\n",
    )
}

fn imported(output: Output, file: &WalletFile, network: Network) -> Result<(), BoxError> {
    if output == Output::Json {
        return write(&format!("{:#}\n", facts(file, network)));
    }
    write(&summary(file, network))?;
    write(
        "\nIf your wallet program shows another address for the same words, its wallet is of an older version than W5 (V5R1):\n\
         send the coins from there to this address.\n",
    )
}

fn addressed(output: Output, wallet: &Wallet, draw: bool) -> Result<(), BoxError> {
    let (account, network) = (wallet.account(), wallet.network());
    let address = shown(account, network);
    if output == Output::Json {
        let facts = json!({
            "network": network.to_string(),
            "address": address,
            "bounceable": Friendly::new(account, network, Bounce::Back).to_string(),
            "raw": address::raw(&account),
            "public_key": to_hex(wallet.public_key()),
            "link": link(&address),
        });
        return write(&format!("{facts:#}\n"));
    }
    // The address alone on its line, for scripts.
    write(&format!("{address}\n"))?;
    if draw {
        let link = link(&address);
        write(&format!("{}{link}\n", qr::draw(&link)?))?;
    }
    Ok(())
}

/// What wallet programs open.
fn link(address: &str) -> String {
    format!("ton://transfer/{address}")
}

async fn balance(output: Output, wallet: &Wallet, source: &ChainSource) -> Result<(), BoxError> {
    let (account, network) = (wallet.account(), wallet.network());
    let state = source.account(account).await?;
    let standing = wallet.standing(&state)?;
    if output == Output::Json {
        let facts = json!({
            "network": network.to_string(),
            "address": shown(account, network),
            "balance": standing.balance,
            "is_deployed": standing.is_deployed,
            "seqno": standing.seqno,
            "block": state.head.seqno,
            "time": state.head.time,
            "sources": source.names(),
        });
        return write(&format!("{facts:#}\n"));
    }
    let used = if standing.is_deployed {
        format!("{} of its messages were taken", standing.seqno)
    } else {
        "not used yet: its first payment brings its contract along".to_owned()
    };
    write(&format!("{} GRAM (TON)\n\n", standing.balance))?;
    write(&list(&[
        ("address", shown(account, network)),
        ("network", name(network)),
        ("state", used),
        ("as of", source.as_of(state.head)),
    ]))
}

fn words(output: Output, file: &WalletFile, passphrase: &Source<'_>, show: bool) -> Result<(), BoxError> {
    if !file.file().has_words() {
        return Err(WalletCommandError::NoWords(file.path().to_owned()).into());
    }
    if !show {
        let question = "Whoever sees the 24 words has the coins. Type `show` to see them here: ";
        let answer = terminal::ask(question).map_err(|error| match error {
            AskError::NoTerminal | AskError::Background => WalletCommandError::Unasked,
            _ => WalletCommandError::Unconfirmed,
        })?;
        if answer.trim() != "show" {
            return Err(WalletCommandError::Unconfirmed.into());
        }
    }
    let Secret::Words(words) = file.open(passphrase)? else {
        return Err(WalletCommandError::NoWords(file.path().to_owned()).into());
    };
    match output {
        Output::Json => write(&format!("{:#}\n", json!({ "words": words.reveal().as_str() }))),
        Output::Text => write(&numbered(&words)),
    }
}

/// Six lines of four.
fn numbered(words: &Mnemonic) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(1024));
    for (at, word) in words.reveal().split(' ').enumerate() {
        let (width, end) = if at % 4 == 3 { (0, "\n") } else { (9, "") };
        text.push_str(&format!("  {:>2} {word:<width$}{end}", at + 1));
    }
    text
}

/// The words or the key of a wallet, from a file, standard input or the terminal.
fn given(from: Option<&Path>) -> Result<Secret, BoxError> {
    let text = match from {
        Some(path) => File::open(path)
            .and_then(limited)
            .map_err(|source| WalletCommandError::From {
                path: path.to_owned(),
                source,
            })?,
        None if io::stdin().is_terminal() => {
            tell(
                "the wallet's 24 words with spaces between them, or its private key in hexadecimal; what you type is not shown",
            )?;
            terminal::ask_secret("Words or key: ").map_err(WalletCommandError::Ask)?
        }
        None => limited(io::stdin().lock()).map_err(WalletCommandError::Stdin)?,
    };
    if let Ok(seed) = Seed::from_hex(&text) {
        return Ok(Secret::Seed(seed));
    }
    let words = Mnemonic::parse(&text).map_err(WalletCommandError::Words)?;
    Ok(Secret::Words(words))
}

fn limited(from: impl Read) -> io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::with_capacity(4096));
    from.take(MAX_INPUT).read_to_string(&mut text)?;
    Ok(text)
}
