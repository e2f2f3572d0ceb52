package dev.baton.device.cuda;

import static java.nio.charset.StandardCharsets.US_ASCII;
import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.jar.JarEntry;
import java.util.jar.JarOutputStream;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * A machine without nvcc takes machine code for GPUs from a build that had one, when that was made
 * from these very sources: {@code BATON_KERNELS} of {@code build-cuda.sh}.
 */
final class PrebuiltKernelsTest {

  private static final String CODE = "META-INF/native/cuda/";

  @TempDir Path place;

  @Test
  void codeOfTheSameSourcesIsTakenAndStays() throws Exception {
    Path jar =
        jar(Map.of("made-from.txt", hashOfSources(), "kernels.txt", "rows", "rows.fatbin", "code"));

    Build taken = build(Map.of("BATON_KERNELS", jar.toString()));
    assertThat(taken.code()).as(taken.output()).isZero();
    assertThat(place.resolve("out").resolve(CODE + "rows.fatbin")).hasContent("code");

    Path old = place.resolve("nvcc");
    Files.writeString(old, "#!/bin/sh\necho 'Cuda compilation tools, release 9.1, V9.1.85'\n");
    assertThat(old.toFile().setExecutable(true)).isTrue();
    Build without = build(Map.of("NVCC", old.toString()));
    assertThat(without.code()).as(without.output()).isZero();
    assertThat(place.resolve("out").resolve(CODE + "rows.fatbin")).hasContent("code");

    assertThat(build(Map.of("NVCC", "none")).output()).contains("no GPU kernels");
    assertThat(place.resolve("out").resolve(CODE)).isEmptyDirectory();
  }

  @Test
  void codeOfOtherSourcesIsRefused() throws Exception {
    Path jar = jar(Map.of("made-from.txt", "0123abcd", "kernels.txt", "rows"));
    Build build = build(Map.of("BATON_KERNELS", jar.toString()));
    assertThat(build.code()).isEqualTo(1);
    assertThat(build.output())
        .contains("BATON_KERNELS: " + jar)
        .contains("code of other sources: 0123abcd (expected: " + hashOfSources());
    assertThat(place.resolve("out").resolve(CODE)).isEmptyDirectory();
  }

  @Test
  void whatIsNoArchiveWithCodeIsRefused() throws Exception {
    for (String name : List.of("absent.jar", "text.jar", "empty.jar")) {
      if (name.equals("text.jar")) {
        Files.writeString(place.resolve(name), "no archive");
      } else if (name.equals("empty.jar")) {
        Files.move(jar(Map.of()), place.resolve(name));
      }
      Build build = build(Map.of("BATON_KERNELS", place.resolve(name).toString()));
      assertThat(build.code()).as(name).isEqualTo(1);
      assertThat(build.output()).contains(name + " (expected: a native-*.jar with code for GPUs)");
    }
  }

  private String hashOfSources() throws Exception {
    Build refused = build(Map.of("BATON_KERNELS", jar(Map.of("made-from.txt", "none")).toString()));
    Matcher expected = Pattern.compile("expected: ([0-9a-f]{64}),").matcher(refused.output());
    assertThat(expected.find()).as(refused.output()).isTrue();
    return expected.group(1);
  }

  private Path jar(Map<String, String> files) throws IOException {
    Path jar = Files.createTempFile(place, "native-", ".jar");
    try (JarOutputStream out = new JarOutputStream(Files.newOutputStream(jar))) {
      out.putNextEntry(new JarEntry("META-INF/other"));
      for (Map.Entry<String, String> file : files.entrySet()) {
        out.putNextEntry(new JarEntry(CODE + file.getKey()));
        out.write(file.getValue().getBytes(US_ASCII));
      }
    }
    return jar;
  }

  private record Build(int code, String output) {}

  private Build build(Map<String, String> environment) throws Exception {
    Path log = Files.createTempFile(place, "build", ".log");
    ProcessBuilder build =
        new ProcessBuilder("./build-cuda.sh", place.resolve("out").toString())
            .redirectErrorStream(true)
            .redirectOutput(log.toFile());
    build.environment().keySet().removeAll(List.of("NVCC", "BATON_KERNELS", "BATON_STRICT"));
    build.environment().put("JAVA_HOME", System.getProperty("java.home"));
    build.environment().putAll(environment);
    Process process = build.start();
    assertThat(process.waitFor(5, TimeUnit.MINUTES)).as("ends").isTrue();
    return new Build(process.exitValue(), Files.readString(log));
  }
}
