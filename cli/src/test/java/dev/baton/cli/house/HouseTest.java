package dev.baton.cli.house;

import static com.tngtech.archunit.base.DescribedPredicate.not;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAPackage;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAnyPackage;
import static com.tngtech.archunit.lang.conditions.ArchConditions.accessField;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static org.assertj.core.api.Assertions.assertThat;

import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import java.lang.foreign.Linker;
import java.lang.foreign.SymbolLookup;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.jspecify.annotations.NullMarked;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;

/**
 * The floors and walls of docs/architecture.md, held in the build. A module uses only modules on
 * floors below its own.
 */
@DisplayName("The house")
class HouseTest {

  /** Modules of each floor, by package, from the ground; those without code yet are reserved. */
  private static final List<List<String>> FLOORS =
      List.of(
          List.of("proto", "device"),
          List.of("engine", "kvtransfer", "peer"),
          List.of("worker"),
          List.of("router", "prefillservice", "decodeservice"),
          List.of("simulation", "bench"),
          List.of("cli"));

  /** Modules that must have been found, or the rules would hold for want of classes. */
  private static final Set<String> BUILT =
      Set.of(
          "proto",
          "device",
          "engine",
          "kvtransfer",
          "peer",
          "worker",
          "router",
          "prefillservice",
          "decodeservice",
          "simulation",
          "bench",
          "cli");

  private static final JavaClasses CLASSES =
      new ClassFileImporter()
          .withImportOption(ImportOption.Predefined.DO_NOT_INCLUDE_TESTS)
          .importPackages("dev.baton");

  private static final String[] GENERATED = {"dev.baton.proto.."};

  @Test
  void everyClassBelongsToAModuleOfAFloor() {
    Set<String> modules =
        CLASSES.stream().map(HouseTest::module).collect(Collectors.toCollection(TreeSet::new));
    assertThat(FLOORS.stream().flatMap(List::stream)).containsAll(modules);
    assertThat(modules).containsAll(BUILT);
  }

  @Test
  void aModuleUsesOnlyModulesOnFloorsBelow() {
    for (int floor = 0; floor < FLOORS.size(); floor++) {
      for (String module : FLOORS.get(floor)) {
        List<String> others =
            FLOORS.subList(floor, FLOORS.size()).stream()
                .flatMap(List::stream)
                .filter(other -> !other.equals(module))
                .toList();
        noClasses()
            .that()
            .resideInAPackage(packageOf(module))
            .should()
            .dependOnClassesThat()
            .resideInAnyPackage(others.stream().map(HouseTest::packageOf).toArray(String[]::new))
            .allowEmptyShould(true)
            .check(CLASSES);
      }
    }
  }

  @Test
  void nativeCodeIsCalledFromTheDeviceModuleOnly() {
    noClasses()
        .that(not(resideInAPackage("dev.baton.device..")))
        .should()
        .dependOnClassesThat()
        .belongToAnyOf(Linker.class, SymbolLookup.class)
        .orShould()
        .dependOnClassesThat()
        .resideInAPackage("jcuda..")
        .check(CLASSES);
    // The tokenizer's JNI library comes in a jar whose own loader is slow and may use the network.
    noClasses()
        .that(not(resideInAnyPackage("dev.baton.device..", "dev.baton.router.text")))
        .should()
        .callMethod(System.class, "loadLibrary", String.class)
        .orShould()
        .callMethod(System.class, "load", String.class)
        .check(CLASSES);
  }

  @Test
  void theDeviceModuleKnowsNothingOfTheOtherModules() {
    noClasses()
        .that()
        .resideInAPackage("dev.baton.device..")
        .should()
        .dependOnClassesThat(
            resideInAPackage("dev.baton..").and(not(resideInAPackage("dev.baton.device.."))))
        .check(CLASSES);
  }

  @Test
  void ucxIsUsedInOnePackage() {
    noClasses()
        .that(not(resideInAPackage("dev.baton.kvtransfer.ucx")))
        .should()
        .dependOnClassesThat()
        .resideInAPackage("org.openucx..")
        .check(CLASSES);
  }

  @Test
  void httpStaysInTheFrontsOfTheRouter() {
    noClasses()
        .that(not(resideInAPackage("dev.baton.router.front..")))
        .should()
        .dependOnClassesThat()
        .resideInAPackage("io.vertx..")
        .check(CLASSES);
    noClasses()
        .that(not(resideInAPackage("dev.baton.router.front..")))
        .should()
        .dependOnClassesThat()
        .resideInAPackage("io.netty..")
        .check(CLASSES);
  }

  @Test
  void theStateMachinesOfTheHandOffHaveNoThreadClockOrSocket() {
    noClasses()
        .that()
        .resideInAPackage("dev.baton.kvtransfer.handoff")
        .and()
        .haveSimpleNameEndingWith("Machine")
        .should()
        .dependOnClassesThat()
        .resideInAnyPackage("java.net..", "java.nio.channels..", "org.openucx..")
        .orShould()
        .dependOnClassesThat()
        .belongToAnyOf(Thread.class)
        .orShould()
        .callMethod(System.class, "nanoTime")
        .orShould()
        .callMethod(System.class, "currentTimeMillis")
        .allowEmptyShould(true)
        .check(CLASSES);
  }

  @Test
  void onlyTheCommandLinePrints() {
    noClasses()
        .that(not(resideInAPackage("dev.baton.cli..")))
        .should(accessField(System.class, "out"))
        .orShould(accessField(System.class, "err"))
        .check(CLASSES);
  }

  @Test
  void loggingIsSlf4j() {
    noClasses()
        .should()
        .dependOnClassesThat()
        .resideInAnyPackage(
            "java.util.logging..",
            "org.apache.commons.logging..",
            "org.apache.log4j..",
            "ch.qos.logback..")
        .check(CLASSES);
  }

  @Test
  void everyPackageIsNullMarked() {
    Set<String> unmarked =
        CLASSES.stream()
            .filter(not(resideInAnyPackage(GENERATED)))
            .map(JavaClass::getPackage)
            .filter(p -> !p.isAnnotatedWith(NullMarked.class))
            .map(p -> p.getName())
            .collect(Collectors.toCollection(TreeSet::new));
    assertThat(unmarked).isEmpty();
  }

  @Test
  void theSupervisorLoadsNoServer() {
    // Its start is part of every start: gRPC, Vert.x and the engine stay in the children.
    noClasses()
        .that()
        .resideInAnyPackage("dev.baton.cli.supervisor..", "dev.baton.cli.lifecycle..")
        .or()
        .haveSimpleName("UpCommand")
        .or()
        .haveSimpleName("SystemLayout")
        .should()
        .dependOnClassesThat()
        .resideInAnyPackage("io.grpc..", "io.vertx..", "io.netty..", "dev.baton.engine..")
        .check(CLASSES);
  }

  private static String module(JavaClass type) {
    String name = type.getPackageName();
    return name.startsWith("dev.baton.") ? name.split("\\.")[2] : name;
  }

  private static String packageOf(String module) {
    return "dev.baton." + module + "..";
  }
}
