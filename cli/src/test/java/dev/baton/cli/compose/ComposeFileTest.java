package dev.baton.cli.compose;

import static org.assertj.core.api.Assertions.assertThat;

import com.networknt.schema.Error;
import com.networknt.schema.InputFormat;
import com.networknt.schema.Schema;
import com.networknt.schema.SchemaLocation;
import com.networknt.schema.SchemaRegistry;
import com.networknt.schema.SpecificationVersion;
import dev.baton.cli.CommandLines;
import dev.baton.cli.Repository;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.snakeyaml.engine.v2.api.Load;
import org.snakeyaml.engine.v2.api.LoadSettings;
import org.snakeyaml.engine.v2.schema.CoreSchema;
import tools.jackson.databind.ObjectMapper;

@DisplayName("compose/docker-compose.yml")
class ComposeFileTest {

  private static final Pattern VARIABLE = Pattern.compile("\\$\\{(\\w+):-([^}]*)}");

  private static final String SHARED = "/var/lib/baton";

  private final Map<String, Object> file = load();

  @Test
  void matchesThePublishedSchema() throws IOException {
    try (InputStream in =
        Objects.requireNonNull(
            ComposeFileTest.class.getResourceAsStream("/compose-spec/compose-spec.json"))) {
      Schema schema =
          SchemaRegistry.withDefaultDialect(SpecificationVersion.DRAFT_7)
              .getSchema(SchemaLocation.of("https://compose.test/"), in, InputFormat.JSON);
      List<Error> errors = schema.validate(new ObjectMapper().valueToTree(file));
      assertThat(errors).isEmpty();
      assertThat(schema.validate(new ObjectMapper().valueToTree(Map.of("services", 1))))
          .as("the schema refuses what is wrong")
          .isNotEmpty();
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"router", "prefill", "decode"})
  void givesEachServiceACommandLineThatTheProgramKnows(String service) {
    List<String> command = strings(service(service).get("command"));
    assertThat(command.getFirst()).isEqualTo(service);
    CommandLines.parse(command);
  }

  @ParameterizedTest
  @ValueSource(strings = {"prefill", "decode"})
  void leavesWorkersFreeToScale(String service) {
    Map<String, Object> worker = service(service);
    assertThat(worker)
        .as("a fixed name or a published port allows one container only")
        .doesNotContainKeys("container_name", "hostname", "ports");
    List<String> command = strings(worker.get("command"));
    assertThat(command).containsSubsequence("--router", "router:9090");
    assertThat(command).containsSubsequence("--host", "auto");
  }

  @Test
  void waitsLongerThanAWorkerDrains() {
    for (String service : List.of("prefill", "decode")) {
      assertThat(service(service)).containsEntry("stop_grace_period", "40s");
    }
    assertThat(CommandLines.drainGraceSeconds()).isLessThan(40);
  }

  @Test
  void givesAllProcessesOneClusterSecret() throws IOException {
    assertThat(map(file.get("volumes"))).containsOnlyKeys("cluster");
    for (String service : List.of("router", "prefill", "decode")) {
      List<?> volumes = (List<?>) Objects.requireNonNull(service(service).get("volumes"));
      assertThat(volumes.stream().map(ComposeFileTest::map))
          .anyMatch(v -> "cluster".equals(v.get("source")) && v.get("target").equals(SHARED));
      assertThat(map(service(service).get("environment"))).containsEntry("XDG_CONFIG_HOME", SHARED);
    }
    assertThat(Files.readString(Repository.root().resolve("compose").resolve("Dockerfile")))
        .contains("install -d -o baton -m 700 " + SHARED);
  }

  @Test
  void publishesTheRouterOnThisMachineOnly() {
    assertThat(strings(service("router").get("ports"))).allMatch(p -> p.startsWith("127.0.0.1:"));
  }

  @Test
  void namesFilesThatExist() {
    Path compose = Repository.root().resolve("compose");
    assertThat(compose.resolve("Dockerfile")).isRegularFile();
    assertThat(compose.resolve("healthcheck")).isExecutable();
    for (String service : List.of("router", "prefill", "decode")) {
      Map<String, Object> mount = map(((List<?>) service(service).get("volumes")).getFirst());
      assertThat(compose.resolve(Objects.requireNonNull(mount.get("source")).toString()))
          .isDirectory();
    }
  }

  @Test
  void copiesIntoTheImageOnlyWhatExists() throws IOException {
    Pattern copy = Pattern.compile("(?m)^COPY --from=build (.+) \\S+$");
    Matcher copies =
        copy.matcher(Files.readString(Repository.root().resolve("compose").resolve("Dockerfile")));
    List<String> sources = new ArrayList<>();
    while (copies.find()) {
      sources.addAll(List.of(copies.group(1).split(" ")));
    }
    assertThat(sources).hasSizeGreaterThan(4);
    for (String source : sources) {
      Path relative = Path.of("/opt/baton").relativize(Path.of(source));
      if (!relative.startsWith("target")) {
        assertThat(Repository.root().resolve(relative)).exists();
      }
    }
  }

  private Map<String, Object> service(String name) {
    return map(Objects.requireNonNull(map(file.get("services")).get(name)));
  }

  private static Map<String, Object> load() {
    try {
      String text =
          Files.readString(Repository.root().resolve("compose").resolve("docker-compose.yml"));
      String interpolated =
          VARIABLE.matcher(text).replaceAll(m -> Matcher.quoteReplacement(m.group(2)));
      LoadSettings settings = LoadSettings.builder().setSchema(new CoreSchema()).build();
      return map(merged(Objects.requireNonNull(new Load(settings).loadFromString(interpolated))));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Applies YAML's merge keys, which compose knows and YAML 1.2 no longer does. */
  private static Object merged(Object node) {
    if (node instanceof List<?> list) {
      return list.stream().map(ComposeFileTest::merged).toList();
    }
    if (node instanceof Map<?, ?> map) {
      Map<Object, Object> result = new LinkedHashMap<>();
      if (map.get("<<") instanceof Map<?, ?> base) {
        ((Map<?, ?>) merged(base)).forEach(result::put);
      }
      map.forEach(
          (key, value) -> {
            if (!key.equals("<<")) {
              result.put(key, merged(value));
            }
          });
      return result;
    }
    return node;
  }

  @SuppressWarnings("unchecked") // Keys of a compose file are strings; the schema says so too.
  private static Map<String, Object> map(Object node) {
    return (Map<String, Object>) node;
  }

  private static List<String> strings(Object node) {
    return ((List<?>) node).stream().map(String::valueOf).toList();
  }
}
