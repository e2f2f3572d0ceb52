package dev.baton.router.template;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

final class TemplateTest {

  @ParameterizedTest
  @CsvSource(
      delimiter = '#',
      quoteCharacter = '`',
      value = {
        "{{ x | foo }} # unknown filter 'foo'",
        "{{ x | map('foo') }} # unknown filter 'foo'",
        "{{ x | select('foo') }} # unknown test 'foo'",
        "{{ x | selectattr('a', 'foo') }} # unknown test 'foo'",
        "{{ x is foo }} # unknown test 'foo'",
        "{{ x.foo() }} # unknown method 'foo'",
        "{{ foo(1) }} # unknown function 'foo'",
        "{% foo %} # unknown statement 'foo'",
        "{% include 'x' %} # unknown statement 'include'",
        "{{ f(*x) }} # unpacked arguments",
        "{% break %} # outside of a loop",
        "{% if x %} # expected: elif or else or endif",
        "{% if x %}{% endfor %} # unknown statement 'endfor'",
        "{{ 'x } # unexpected character",
        "{{ (1] }} # unexpected ']'",
        "{{ 1 + }} # expected: an expression",
        "{{ x # not closed",
        "{% set 1 = 2 %} # expected: a name",
        "{% set loop = 2 %} # cannot be set",
        "{% raw %} # missing endraw",
        "{{ not }} # expected: an expression",
      })
  void whatIsNotKnownFailsWhenParsedNamingTheLine(String source, String reason) {
    assertThatThrownBy(() -> Template.parse("chat_template", "first\n\n" + source))
        .isInstanceOf(TemplateException.class)
        .hasMessageStartingWith("chat_template line 3: ")
        .hasMessageContaining(reason);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '#',
      quoteCharacter = '`',
      value = {
        "{{ missing.name }} # 'missing' is undefined",
        "{{ missing + 'x' }} # 'missing' is undefined",
        "{{ missing['x'] }} # 'missing' is undefined",
        "{{ {'a': 1}.b.c }} # 'b' of a dict is undefined",
        "{{ 'x' + 1 }} # '+' between 'str' and 'int'",
        "{{ 1 // 0 }} # division by zero",
        "{{ [1].append(2) }} # which would change it",
        "{{ {'a': 1}.pop('a') }} # which would change it",
        "{{ [1] | first | length }} # 'int' has no length",
        "{{ missing | tojson }} # tojson: object of type Undefined",
        "{% for a, b in [[1]] %}{% endfor %} # unpacking: 1 values (expected: 2)",
        "{{ 'x' < 1 }} # '<' between 'str' and 'int'",
        "{{ 1 in 'x' }} # expected: str",
        "{% set x = 1 %}{% set x.y = 2 %} # not a namespace",
        "{{ 'a'.split('') }} # empty separator",
        "{{ range(1000000) }} # range: more than",
        "{{ 'x' * 100000000 }} # text: longer",
        "{{ 9 ** 99999999 }} # too large",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }} # calls: nested deeper",
        "{% macro f(a) %}{% endmacro %}{{ f(1, 2) }} # macro 'f': 2 arguments",
        "{% macro f(a) %}{% endmacro %}{{ f(b=2) }} # unknown argument 'b'",
        "{{ raise_exception('please alternate') }} # please alternate",
      })
  void whatPythonRefusesFailsNamingTheLine(String source, String reason) {
    Template template = Template.parse("chat_template", "a\n" + source);
    assertThatThrownBy(() -> template.render(Map.of(), TemplateGoldensTest.NOW))
        .isInstanceOf(TemplateException.class)
        .hasMessageStartingWith("chat_template line 2: ")
        .hasMessageContaining(reason);
  }

  @Test
  void endlessGrowthEndsWithAnError() {
    String loops = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}";
    String doubling =
        "{% set ns = namespace(x='x') %}{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}{%"
            + " endfor %}";
    for (String source : new String[] {loops, doubling}) {
      Template template = Template.parse("t", source);
      assertThatThrownBy(() -> template.render(Map.of(), TemplateGoldensTest.NOW))
          .isInstanceOf(TemplateException.class);
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"(", "[", "{1:", "not ", "-", "1 if x else ", "f(", "x["})
  void deepNestingFailsWhenParsed(String opening) {
    assertThatThrownBy(() -> Template.parse("t", "{{ " + opening.repeat(100_000) + "1 }}"))
        .isInstanceOf(TemplateException.class);
  }

  @ParameterizedTest
  @ValueSource(strings = {" + 1", " if 1", "|abs", " or 0", "[0]"})
  void chainsTooLongForTheStackFailWithAnErrorOfTheTemplate(String link) {
    Template template = Template.parse("t", "{{ 0" + link.repeat(100_000) + " }}");
    assertThatThrownBy(() -> template.render(Map.of(), TemplateGoldensTest.NOW))
        .isInstanceOf(TemplateException.class);
  }

  @Test
  void longChainsOfOperatorsNeedNoDeepStack() {
    String chain = "{{ 0" + " + 1".repeat(900) + " }}";
    assertThat(Template.parse("t", chain).render(Map.of(), TemplateGoldensTest.NOW))
        .isEqualTo("900");
  }
}
