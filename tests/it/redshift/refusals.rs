//! What redshift-local refuses, and how its API behaves, as the AWS SDK understands it.

use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use arrow_array::BinaryArray;
use aws_sdk_redshiftdata::Client;
use aws_sdk_redshiftdata::config::{BehaviorVersion, Region};
use aws_sdk_redshiftdata::operation::describe_statement::DescribeStatementOutput;
use aws_sdk_redshiftdata::types::{SqlParameter, StatusString};
use theatre_actors::ports::{ColumnType, Lake, LoadMode, TableSpec};
use theatre_dev::object_store::ObjectStore;
use theatre_s3::S3Lake;

use super::{Servers, file, odd_file, table};

struct Api<'a> {
    client: Client,
    servers: &'a Servers,
}

impl<'a> Api<'a> {
    fn new(servers: &'a Servers) -> Self {
        let config = aws_sdk_redshiftdata::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(ObjectStore::credentials())
            .endpoint_url(format!("http://{}", servers.options.listen));
        Self {
            client: Client::from_conf(config.build()),
            servers,
        }
    }

    fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.servers.io.block_on(future)
    }

    /// Runs one statement to its end.
    fn run(&self, sql: &str) -> Result<DescribeStatementOutput> {
        let sent = self.wait(
            self.client
                .execute_statement()
                .workgroup_name("local")
                .database("warehouse")
                .sql(sql)
                .send(),
        )?;
        self.ended(sent.id().context("no id")?)
    }

    fn batch(&self, sqls: &[&str], token: &str) -> Result<String> {
        let sqls = sqls.iter().map(|sql| (*sql).to_owned()).collect();
        let call = self
            .client
            .batch_execute_statement()
            .workgroup_name("local")
            .database("warehouse")
            .set_sqls(Some(sqls));
        let sent = self.wait(
            call.client_token(token)
                .statement_name(format!("name-{token}"))
                .send(),
        )?;
        Ok(sent.id().context("no id")?.to_owned())
    }

    fn ended(&self, id: &str) -> Result<DescribeStatementOutput> {
        for _ in 0..1000 {
            let answer = self.wait(self.client.describe_statement().id(id).send())?;
            if matches!(
                answer.status,
                Some(StatusString::Finished | StatusString::Failed | StatusString::Aborted)
            ) {
                return Ok(answer);
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        bail!("statement {id} does not end")
    }

    fn succeeds(&self, sql: &str) -> Result<()> {
        let answer = self.run(sql)?;
        ensure!(
            answer.status == Some(StatusString::Finished),
            "{sql}: {:?}",
            answer.error
        );
        Ok(())
    }

    fn fails(&self, sql: &str, part: &str) -> Result<()> {
        let answer = self.run(sql)?;
        let error = answer.error.unwrap_or_default();
        ensure!(
            answer.status == Some(StatusString::Failed) && error.contains(part),
            "{sql}: expected '{part}', got {:?} '{error}'",
            answer.status
        );
        Ok(())
    }
}

fn put(lake: &S3Lake, path: &str, text: &str) -> Result<String> {
    let mut upload = lake.begin(path, path)?;
    upload.write(text.as_bytes())?;
    lake.complete(path, &upload.seal()?)?;
    lake.location(path).context("no location")
}

fn copy(table: &str, manifest: &str, options: &str) -> String {
    format!(
        "COPY {table} FROM '{manifest}' IAM_ROLE 'arn:aws:iam::1:role/r' FORMAT AS PARQUET MANIFEST {options}"
    )
}

#[test]
fn copy_refuses_what_redshift_refuses() -> Result<()> {
    let servers = Servers::start()?;
    let (api, lake) = (Api::new(&servers), servers.lake()?);
    for sql in [
        "CREATE TABLE t (id VARCHAR(65535), revision INTEGER)",
        "CREATE TABLE wide (id VARCHAR(65535), revision INTEGER, note VARCHAR(10))",
        "CREATE TABLE thin (id VARCHAR(65535))",
        "CREATE TABLE other (id VARCHAR(65535), revision BIGINT)",
        "CREATE TABLE swapped (revision INTEGER, id VARCHAR(65535))",
        "CREATE TABLE short (id VARCHAR(2), revision INTEGER)",
    ] {
        api.succeeds(sql)?;
    }
    let data = file(
        &lake,
        &table("t", LoadMode::Append),
        1,
        &[("one", 1), ("two", 2)],
    )?;
    let url = lake.location(&data.file.path).context("no location")?;
    let entry = |url: &str, length: u64, mandatory: bool| {
        format!(
            r#"{{"entries":[{{"url":"{url}","mandatory":{mandatory},"meta":{{"content_length":{length}}}}}]}}"#
        )
    };
    let good = put(&lake, "m/good.json", &entry(&url, data.file.bytes, true))?;
    api.succeeds(&copy("t", &good, ""))?;
    api.fails(
        &copy("wide", &good, ""),
        "Unmatched number of columns between table and file. Table columns: 3, Data columns: 2",
    )?;
    api.succeeds(&copy("wide", &good, "FILLRECORD"))?;
    api.fails(
        &copy("thin", &good, "FILLRECORD"),
        "Table columns: 1, Data columns: 2",
    )?;
    api.fails(
        &copy("other", &good, ""),
        &format!("incompatible Parquet schema for column '{url}.revision'"),
    )?;
    api.fails(&copy("swapped", &good, ""), &format!("'{url}.revision'"))?;
    api.fails(
        &copy("short", &good, ""),
        "longer than the length defined in the table",
    )?;
    api.fails(
        &copy("t", &good, "MAXERROR 5"),
        "MAXERROR argument is not supported for PARQUET",
    )?;
    api.fails(
        &copy("t", &good, "ACCEPTANYDATE"),
        "ACCEPTANYDATE argument is not supported",
    )?;
    let bare = put(
        &lake,
        "m/bare.json",
        &format!(r#"{{"entries":[{{"url":"{url}","mandatory":true}}]}}"#),
    )?;
    api.fails(&copy("t", &bare, ""), "content_length")?;
    let wrong = put(
        &lake,
        "m/wrong.json",
        &entry(&url, data.file.bytes + 1, true),
    )?;
    api.fails(
        &copy("t", &wrong, ""),
        &format!("File '{url}' has {} bytes", data.file.bytes),
    )?;
    let gone = put(
        &lake,
        "m/gone.json",
        &entry(&format!("{url}.gone"), 1, true),
    )?;
    api.fails(&copy("t", &gone, ""), &format!("{url}.gone"))?;
    let optional = put(
        &lake,
        "m/optional.json",
        &entry(&format!("{url}.gone"), 1, false),
    )?;
    api.succeeds(&copy("t", &optional, ""))?;
    let text = put(&lake, "m/text.parquet", "no parquet at all")?;
    let corrupt = put(&lake, "m/corrupt.json", &entry(&text, 17, true))?;
    api.fails(&copy("t", &corrupt, ""), "invalid or corrupt Parquet")?;
    api.fails(
        &copy("t", "s3://lake/theatre/m/none.json", ""),
        "Manifest file is not found",
    )?;
    api.succeeds("CREATE TABLE raw (bytes VARBYTE(1024000))")?;
    let raw = TableSpec {
        name: "raw".to_owned(),
        columns: vec![("bytes".to_owned(), ColumnType::Binary)],
        mode: LoadMode::Append,
    };
    let long = odd_file(
        &lake,
        &raw,
        vec![Arc::new(BinaryArray::from_vec(vec![
            vec![7; (4 << 20) + 1].as_slice(),
        ]))],
    )?;
    let long_url = lake.location(&long.path).context("no location")?;
    let too_long = put(&lake, "m/long.json", &entry(&long_url, long.bytes, true))?;
    api.fails(
        &copy("raw", &too_long, ""),
        &format!("File '{long_url}' has a row of"),
    )?;
    let rows = api.run("SELECT count(*) FROM t")?;
    let got = api.wait(api.client.get_statement_result().id(rows.id()).send())?;
    ensure!(
        got.records()[0][0].as_long_value() == Ok(&2),
        "refused files left nothing: {got:?}"
    );
    Ok(())
}

#[test]
fn the_api_keeps_its_rules() -> Result<()> {
    let servers = Servers::start()?;
    let api = Api::new(&servers);
    let many = vec!["SELECT 1"; 41];
    let refused = api
        .batch(&many, "many")
        .err()
        .map(|error| format!("{error:?}"))
        .unwrap_or_default();
    ensure!(
        refused.contains("ValidationException") && refused.contains("1 to 40"),
        "{refused}"
    );
    let nowhere = api.wait(
        api.client
            .execute_statement()
            .database("warehouse")
            .sql("SELECT 1")
            .send(),
    );
    ensure!(nowhere.is_err_and(|error| {
        error
            .as_service_error()
            .is_some_and(|error| error.is_validation_exception())
    }));
    let unknown = api.wait(api.client.describe_statement().id("no-such-id").send());
    ensure!(unknown.is_err_and(|error| {
        error
            .as_service_error()
            .is_some_and(|error| error.is_resource_not_found_exception())
    }));
    let first = api.batch(
        &[
            "CREATE TABLE t (a INT, PRIMARY KEY (a))",
            "INSERT INTO t VALUES (1), (1), (2)",
            "SELECT a FROM t ORDER BY a",
        ],
        "once",
    )?;
    ensure!(
        api.ended(&first)?.status == Some(StatusString::Finished),
        "keys are not enforced"
    );
    let again = api.batch(
        &[
            "CREATE TABLE t (a INT, PRIMARY KEY (a))",
            "INSERT INTO t VALUES (1), (1), (2)",
            "SELECT a FROM t ORDER BY a",
        ],
        "once",
    )?;
    ensure!(first == again, "a client token stands for one statement");
    let answer = api.ended(&first)?;
    ensure!(
        answer.sub_statements().len() == 3 && answer.sub_statements()[1].result_rows == 3,
        "{answer:?}"
    );
    let page = api.wait(
        api.client
            .get_statement_result()
            .id(format!("{first}:3"))
            .send(),
    )?;
    ensure!(
        page.records().len() == 2 && page.total_num_rows == 3 && page.next_token().is_some(),
        "{page:?}"
    );
    let rest = api.wait(
        api.client
            .get_statement_result()
            .id(format!("{first}:3"))
            .next_token(page.next_token().unwrap_or_default())
            .send(),
    )?;
    ensure!(rest.records().len() == 1 && rest.next_token().is_none());
    let failed = api.batch(
        &["INSERT INTO t VALUES (9)", "SELECT 1 / 0", "SELECT 1"],
        "fails",
    )?;
    let answer = api.ended(&failed)?;
    let states: Vec<&str> = answer
        .sub_statements()
        .iter()
        .filter_map(|part| part.status().map(|status| status.as_str()))
        .collect();
    ensure!(
        answer.status == Some(StatusString::Failed) && states == ["FINISHED", "FAILED", "ABORTED"],
        "{answer:?}"
    );
    let call = api
        .client
        .execute_statement()
        .cluster_identifier("c")
        .database("warehouse")
        .sql("SELECT a FROM t WHERE a = CAST(:wanted AS INT)");
    let bound = api.wait(
        call.parameters(SqlParameter::builder().name("wanted").value("9").build()?)
            .send(),
    )?;
    ensure!(
        api.ended(bound.id().unwrap_or_default())?.result_rows == 0,
        "the failed batch was taken back as a whole"
    );
    let listed = api.wait(
        api.client
            .list_statements()
            .statement_name("name-fails")
            .status(StatusString::All)
            .send(),
    )?;
    ensure!(listed.statements().len() == 1 && listed.statements()[0].id == failed);
    let finished = api.wait(api.client.list_statements().statement_name("name-").send())?;
    ensure!(
        finished
            .statements()
            .iter()
            .all(|statement| statement.status == Some(StatusString::Finished))
            && !finished.statements().is_empty()
    );
    Ok(())
}

#[test]
fn a_running_statement_can_be_cancelled() -> Result<()> {
    let servers = Servers::start()?;
    let api = Api::new(&servers);
    let id = api.batch(&["SELECT pg_sleep(30)"], "long")?;
    while api
        .wait(api.client.describe_statement().id(&id).send())?
        .status
        != Some(StatusString::Started)
    {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    ensure!(
        api.wait(api.client.cancel_statement().id(&id).send())?
            .status
            == Some(true)
    );
    ensure!(api.ended(&id)?.status == Some(StatusString::Aborted));
    let late = api.wait(api.client.cancel_statement().id(&id).send());
    ensure!(
        late.is_err_and(|error| error
            .as_service_error()
            .is_some_and(|error| error.is_validation_exception())),
        "it has ended"
    );
    Ok(())
}
