package dev.baton.kvtransfer.testing;

import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.extension.ConditionEvaluationResult;
import org.junit.jupiter.api.extension.ExecutionCondition;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.extension.ExtensionContext;

/** The test needs UCX; where it is not installed the test is skipped and says so. */
@Target(ElementType.TYPE)
@Retention(RetentionPolicy.RUNTIME)
@ExtendWith(UcxPresent.Condition.class)
public @interface UcxPresent {

  /** Looks where the dynamic linker does. */
  final class Condition implements ExecutionCondition {
    private static final List<String> DIRECTORIES =
        List.of("/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/local/lib");

    @Override
    public ConditionEvaluationResult evaluateExecutionCondition(ExtensionContext context) {
      return DIRECTORIES.stream().anyMatch(d -> Files.exists(Path.of(d, "libucp.so.0")))
          ? ConditionEvaluationResult.enabled("UCX is installed")
          : ConditionEvaluationResult.disabled("no libucp.so.0: apt-get install libucx0");
    }
  }
}
