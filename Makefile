# Builds, tests and installs nettask. `make help` lists the targets.
#
# Everything that is made lands in $(BUILD), which differs for each sanitizer,
# so that the variants never mix; objects are made again whenever the compiler
# or a flag changes. Libraries come from pkg-config, or from X_DIR (or X_INCDIR
# and X_LIBDIR) for X in CURL UV ZLIB SQLITE PSL
# JANSSON, which is also how LuaRocks calls us.

LUA ?= 5.4
CC := $(if $(filter default,$(origin CC)),gcc,$(CC))
CFLAGS ?= -O2 -g
LIBFLAG ?= -shared
PYTHON ?= /usr/bin/python3
SPEC ?=
FRAMES ?= 600
DIALECTS ?= wx taro swan my ft

ifeq ($(filter $(LUA),5.1 5.2 5.3 5.4 jit),)
  $(error LUA is one of 5.1 5.2 5.3 5.4 jit, not "$(LUA)")
endif

# ---- Variants ---------------------------------------------------------------

ifeq ($(SANITIZE),)
  BUILD ?= build
else ifeq ($(SANITIZE),address)
  BUILD ?= build/asan
  SAN_FLAGS := -fsanitize=address,undefined -fno-sanitize-recover=all \
    -fno-omit-frame-pointer
else ifeq ($(SANITIZE),thread)
  BUILD ?= build/tsan
  SAN_FLAGS := -fsanitize=thread -fno-omit-frame-pointer
else
  $(error SANITIZE is address or thread, not "$(SANITIZE)")
endif

LUA_NAME := $(if $(filter jit,$(LUA)),luajit,lua$(LUA))

# ---- Libraries --------------------------------------------------------------

pkg = $(shell pkg-config $1 $2 2>/dev/null)
incdir = $(or $($1_INCDIR),$(if $($1_DIR),$($1_DIR)/include))
libdir = $(or $($1_LIBDIR),$(if $($1_DIR),$($1_DIR)/lib))
# A library outside of the system's folders must be found again at run time.
rpath = $(if $(filter /usr/lib% /lib%,$1),,-Wl,-rpath,$1)
own_libs = -L$1 $(call rpath,$1) -l$2
# $(call cflags,X,module) and $(call libs,X,module,name)
cflags = $(if $(call incdir,$1),-I$(call incdir,$1),$(call pkg,--cflags,$2))
libs = $(if $(call libdir,$1),$(call own_libs,$(call \
  libdir,$1),$3),$(call pkg,--libs,$2))

# Whoever names the folders has no use for a list of Debian packages.
ifneq ($(strip $(LUA_INCDIR) $(foreach x,UV CURL ZLIB SQLITE PSL JANSSON,$(call \
  incdir,$x))),)
  DEPS := skip
endif
export DEPS

UV_FLAGS := $(call cflags,UV,libuv)
CURL_FLAGS := $(call cflags,CURL,libcurl)
ZLIB_FLAGS := $(call cflags,ZLIB,zlib)
SQLITE_FLAGS := $(call cflags,SQLITE,sqlite3)
PSL_FLAGS := $(call cflags,PSL,libpsl)
JANSSON_FLAGS := $(call cflags,JANSSON,jansson)
CORE_FLAGS := $(UV_FLAGS) $(CURL_FLAGS) $(ZLIB_FLAGS) $(SQLITE_FLAGS) \
  $(PSL_FLAGS)
LUA_FLAGS := $(if $(LUA_INCDIR),-I$(LUA_INCDIR),$(call \
  pkg,--cflags,$(LUA_NAME)))
SERVER_FLAGS := -Ic-core/src $(UV_FLAGS) $(JANSSON_FLAGS) \
  $(call pkg,--cflags,libwebsockets libcrypto zlib)

UV_LIBS := $(call libs,UV,libuv,uv)
CORE_LIBS := $(UV_LIBS) $(call libs,CURL,libcurl,curl) \
  $(call libs,ZLIB,zlib,z) $(call libs,SQLITE,sqlite3,sqlite3) \
  $(call libs,PSL,libpsl,psl) -pthread
JANSSON_LIBS := $(call libs,JANSSON,jansson,jansson)
MODULE_LIBS := $(CORE_LIBS) $(JANSSON_LIBS)
SERVER_LIBS := $(UV_LIBS) $(JANSSON_LIBS) \
  $(call pkg,--libs,libwebsockets libcrypto zlib) -pthread

# ---- Flags ------------------------------------------------------------------

WARNINGS := -Wall -Wextra -Wpedantic $(if $(WERROR),-Werror)
COMPILE = $(CC) -std=c11 -D_GNU_SOURCE $(WARNINGS) -fPIC -fvisibility=hidden \
  -fno-semantic-interposition -pthread \
  -MMD -MP $(SAN_FLAGS) $(CFLAGS)
INCLUDE := -Ic-core/include

# The module is never unloaded: a thread that sits in a name lookup outlives
# the Lua state, and returns into code that must still be there.
ifeq ($(shell uname -s),Darwin)
  MODULE_LDFLAGS := -undefined dynamic_lookup
else
  MODULE_LDFLAGS := -Wl,-z,nodelete -Wl,--as-needed -Wl,-Bsymbolic-functions \
    -Wl,--version-script=tools/exports.map
endif

# ---- Files ------------------------------------------------------------------

CORE_SRC := $(wildcard c-core/src/*.c)
MODULE_SRC := $(wildcard lua-module/src/*.c)
SERVER_SRC := $(wildcard examples/server/*.c)
TEST_SRC := $(wildcard c-core/test/test_*.c)
FUZZ_SRC := $(wildcard c-core/test/fuzz/fuzz_*.c)
BENCH_SRC := $(wildcard bench/*.c)
EXAMPLE_SRC := $(wildcard examples/*.c)
LUA_SRC := $(wildcard lua-module/nettask/*.lua)

LUA_BUILD := $(BUILD)/lua$(if $(LUA_INCDIR),,$(LUA))
CORE_OBJ := $(CORE_SRC:c-core/src/%.c=$(BUILD)/obj/core/%.o)
MODULE_OBJ := $(MODULE_SRC:lua-module/src/%.c=$(LUA_BUILD)/obj/%.o)
# The server announces itself with the core's reader and writer of messages.
SERVER_OBJ := $(SERVER_SRC:examples/server/%.c=$(BUILD)/obj/server/%.o) \
  $(BUILD)/obj/core/dns_message.o

CORE := $(BUILD)/libnettask.a
MODULE := $(LUA_BUILD)/nettask/core.so
SERVER := $(BUILD)/demo-server
TESTS := $(TEST_SRC:c-core/test/%.c=$(BUILD)/test/%)
# Hosts in C that have the module linked in: one for specs, and the one that
# docs/security.md prints.
HOSTS := $(LUA_BUILD)/embed_host $(LUA_BUILD)/sealed_host
# What specs load into an interpreter.
HELPERS := $(BUILD)/disk_log.so $(BUILD)/held_disk.so $(BUILD)/allocated.so \
  $(if $(SANITIZE),$(BUILD)/unpreload.so)
FUZZERS := $(FUZZ_SRC:c-core/test/fuzz/%.c=build/fuzz/%)
BENCHES := $(BENCH_SRC:bench/%.c=$(BUILD)/bench/%)
EXAMPLES := $(EXAMPLE_SRC:examples/%.c=$(BUILD)/examples/%)

.PHONY: all core module server examples ctests benches fuzzers demo run-demo \
  demo-dialects run-demo-dialects \
  test run-test stress cache-suite bench fuzz lint run-lint \
  lint-format lint-tidy lint-lua format ci install-deps rock rock-check \
  rock-install clean help
.DELETE_ON_ERROR:
$(if $(V),,.SILENT:)

all: core module server examples

core: $(CORE)
module: $(MODULE)
server: $(SERVER)
examples: $(EXAMPLES)
ctests: $(TESTS) $(HELPERS) $(HOSTS)
benches: $(BENCHES)

# ---- Building ---------------------------------------------------------------

# A stamp for each set of flags; its text changes only when they do.
flags_text = $(COMPILE) $(INCLUDE) $($1)
define stamp
$1: .FORCE
	mkdir -p $$(@D)
	printf '%s\n' '$$(call flags_text,$2)' | cmp -s - $$@ || \
	  { tools/deps.sh check $3 && \
	    printf '%s\n' '$$(call flags_text,$2)' >$$@; }
endef
.PHONY: .FORCE
CORE_STAMP := $(BUILD)/obj/core.flags
MODULE_STAMP := $(LUA_BUILD)/obj.flags
SERVER_STAMP := $(BUILD)/obj/server.flags
CORE_ALL_FLAGS = $(CORE_FLAGS) $(CORE_LIBS)
MODULE_ALL_FLAGS = $(LUA_FLAGS) $(LIBFLAG) $(MODULE_LIBS)
SERVER_ALL_FLAGS = $(SERVER_FLAGS) $(SERVER_LIBS)
$(eval $(call stamp,$(CORE_STAMP),CORE_ALL_FLAGS,core))
$(eval $(call stamp,$(MODULE_STAMP),MODULE_ALL_FLAGS,core $(LUA_NAME)))
$(eval $(call stamp,$(SERVER_STAMP),SERVER_ALL_FLAGS,server))

$(BUILD)/obj/core/%.o: c-core/src/%.c $(CORE_STAMP)
	mkdir -p $(@D)
	echo "  cc $@"
	$(COMPILE) $(INCLUDE) $(CORE_FLAGS) -c $< -o $@

$(LUA_BUILD)/obj/%.o: lua-module/src/%.c $(MODULE_STAMP)
	mkdir -p $(@D)
	echo "  cc $@"
	$(COMPILE) $(INCLUDE) $(LUA_FLAGS) $(JANSSON_FLAGS) -c $< -o $@

$(BUILD)/obj/server/%.o: examples/server/%.c $(SERVER_STAMP)
	mkdir -p $(@D)
	echo "  cc $@"
	$(COMPILE) $(SERVER_FLAGS) -c $< -o $@

$(CORE): $(CORE_OBJ)
	echo "  ar $@"
	rm -f $@
	ar rcs $@ $^

# From the objects, not the archive: the module exports the whole C API.
$(MODULE): $(MODULE_OBJ) $(CORE_OBJ) tools/exports.map
	mkdir -p $(@D)
	echo "  ld $@"
	$(CC) $(SAN_FLAGS) $(CFLAGS) $(LIBFLAG) $(MODULE_LDFLAGS) -o $@ \
	  $(filter %.o,$^) $(MODULE_LIBS)

$(SERVER): $(SERVER_OBJ)
	echo "  ld $@"
	$(CC) $(SAN_FLAGS) $(CFLAGS) -o $@ $^ $(SERVER_LIBS)

$(BUILD)/test/%: c-core/test/%.c $(CORE)
	mkdir -p $(@D)
	echo "  cc $@"
	$(COMPILE) $(INCLUDE) -Ic-core/src $(UV_FLAGS) $(CURL_FLAGS) \
	  $(call pkg,--cflags,cmocka) -o $@ $< $(CORE) \
	  $(call pkg,--libs,cmocka) $(CORE_LIBS)

$(HOSTS): $(LUA_BUILD)/%: $(LUA_BUILD)/%.c $(MODULE_OBJ) $(CORE_OBJ)
	echo "  cc $@"
	$(COMPILE) $(INCLUDE) -Ilua-module/src $(LUA_FLAGS) -o $@ \
	  $(filter %.c %.o,$^) $(call pkg,--libs,$(LUA_NAME)) $(MODULE_LIBS)

$(LUA_BUILD)/embed_host.c: spec/support/embed_host.c
	mkdir -p $(@D)
	cp $< $@

$(LUA_BUILD)/sealed_host.c: docs/security.md
	mkdir -p $(@D)
	sed -n '/^```c$$/,/^```$$/p' $< | grep -v '^```' >$@

$(BUILD)/%.so: spec/support/%.c
	mkdir -p $(@D)
	echo "  cc $@"
	$(CC) -std=c11 -D_GNU_SOURCE $(WARNINGS) $(CFLAGS) -fPIC -shared -o $@ $<

$(BUILD)/bench/%: bench/%.c $(CORE)
	mkdir -p $(@D)
	echo "  cc $@"
	$(COMPILE) $(INCLUDE) $(UV_FLAGS) $(CURL_FLAGS) -o $@ $< $(CORE) \
	  $(CORE_LIBS)

# With the public header alone, as an engine would.
$(BUILD)/examples/%: examples/%.c $(CORE)
	mkdir -p $(@D)
	echo "  cc $@"
	$(COMPILE) $(INCLUDE) -o $@ $< $(CORE) $(CORE_LIBS)

# Fuzzers instrument the core itself, so they are built from its sources.
build/fuzz/%: c-core/test/fuzz/%.c $(CORE_SRC) $(wildcard c-core/src/*.h)
	mkdir -p $(@D)
	echo "  cc $@"
	clang -std=c11 -D_GNU_SOURCE -g -O1 -fsanitize=fuzzer,address,undefined -pthread \
	  -fno-sanitize-recover=all $(INCLUDE) -Ic-core/src $(CORE_FLAGS) \
	  -o $@ $< $(CORE_SRC) $(CORE_LIBS)

-include $(wildcard $(BUILD)/obj/*/*.d $(LUA_BUILD)/obj/*.d \
  $(BUILD)/test/*.d $(BUILD)/bench/*.d $(BUILD)/examples/*.d)

# ---- Running ----------------------------------------------------------------

# What installs comes first and apart: make has to look for the libraries
# again once they are there.
SUBMAKE = $(MAKE) --no-print-directory

demo:
	tools/deps.sh install core server $(LUA_NAME)
	+$(SUBMAKE) all
	+$(SUBMAKE) run-demo

run-demo:
	tools/demo.sh $(SERVER) $(LUA_BUILD) $(LUA_NAME) examples/arcade.lua \
	  --frames $(FRAMES)

demo-dialects:
	tools/deps.sh install core server $(LUA_NAME)
	+$(SUBMAKE) all
	+$(SUBMAKE) run-demo-dialects

run-demo-dialects:
	tools/demo.sh $(SERVER) $(LUA_BUILD) $(LUA_NAME) \
	  "$(DIALECTS:%=examples/dialects/%.lua)"

test:
	tools/deps.sh install core server test $(LUA_NAME)
	+$(SUBMAKE) all ctests
	+$(SUBMAKE) run-test

run-test:
	$(PYTHON) spec/run.py --build $(BUILD) --lua $(LUA) \
	  $(if $(SANITIZE),--sanitize $(SANITIZE)) \
	  $(if $(SPEC),$(SPEC),$(if $(filter skip,$(CTESTS)),,--ctests))

stress:
	tools/deps.sh install core server test $(LUA_NAME)
	+$(SUBMAKE) all ctests
	STRESS_SCALE=1 $(PYTHON) spec/run.py --build $(BUILD) --lua $(LUA) \
	  $(if $(SANITIZE),--sanitize $(SANITIZE)) --timeout 1800 \
	  $(if $(SPEC),$(SPEC),--stress)

cache-suite:
	tools/deps.sh install core test suite $(LUA_NAME)
	+$(SUBMAKE) module $(HELPERS)
	$(PYTHON) spec/cache_suite/play.py --build $(BUILD) --lua $(LUA) \
	  $(if $(SANITIZE),--sanitize $(SANITIZE))

bench:
	tools/deps.sh install core server bench luajit $(LUA_NAME)
	+$(SUBMAKE) all benches
	bench/run --build $(BUILD) --lua $(LUA)

FUZZ_SECONDS ?= 60
fuzz:
	tools/deps.sh install core fuzz
	+$(SUBMAKE) fuzzers
	set -e; for f in $(FUZZERS); do \
	  mkdir -p $$f.corpus; \
	  $$f -max_total_time=$(FUZZ_SECONDS) -artifact_prefix=$$f- \
	    $$f.corpus $(wildcard c-core/test/fuzz/seeds); done

fuzzers: $(FUZZERS)

lint:
	tools/deps.sh install core server test lint $(LUA_NAME)
	+$(SUBMAKE) run-lint

C_FILES = $(wildcard c-core/*/*.[ch] c-core/test/fuzz/*.[ch] \
  lua-module/src/*.[ch] examples/*.c examples/*/*.[ch] \
  bench/*.[ch] bench/*/*.[ch] spec/support/*.c)
TIDY_FILES = $(CORE_SRC) $(MODULE_SRC) $(SERVER_SRC) $(EXAMPLE_SRC)
run-lint: lint-format lint-tidy lint-lua

lint-format:
	clang-format --dry-run -Werror $(C_FILES)

TIDY_FLAGS = -std=c11 -D_GNU_SOURCE $(INCLUDE) -Ic-core/src $(UV_FLAGS) \
  $(CURL_FLAGS) $(SQLITE_FLAGS) $(PSL_FLAGS) $(LUA_FLAGS) $(SERVER_FLAGS)
# It counts the warnings of system headers aloud: heard only when it fails.
lint-tidy:
	out=$$(printf '%s\n' $(TIDY_FILES) | xargs -P 2 -I {} \
	  clang-tidy --quiet {} -- $(TIDY_FLAGS) 2>&1) || \
	  { printf '%s\n' "$$out"; exit 1; }

lint-lua:
	luacheck -q --no-color .

format:
	clang-format -i $(C_FILES)

ci:
	.ci/run

install-deps:
	tools/deps.sh install core server test suite bench lint fuzz \
	  lua5.1 lua5.2 lua5.3 lua5.4 luajit

# ---- LuaRocks ---------------------------------------------------------------

rock: rock-check
	+$(SUBMAKE) module

# "header:variable of LuaRocks"
ROCK_HEADERS := lua.h:LUA_DIR uv.h:UV_DIR curl/curl.h:CURL_DIR \
  sqlite3.h:SQLITE_DIR libpsl.h:PSL_DIR jansson.h:JANSSON_DIR
rock-check:
	for pair in $(ROCK_HEADERS); do \
	  echo "#include <$${pair%%:*}>" | $(CC) -D_GNU_SOURCE $(LUA_FLAGS) \
	    $(CORE_FLAGS) $(JANSSON_FLAGS) -E - >/dev/null 2>&1 || \
	  { echo "nettask: $${pair%%:*} not found, pass $${pair##*:}=" >&2; \
	    exit 1; }; done

rock-install:
	install -d $(INST_LUADIR)/nettask $(INST_LIBDIR)/nettask
	install -m 644 $(LUA_SRC) $(INST_LUADIR)/nettask/
	install -m 755 $(MODULE) $(INST_LIBDIR)/nettask/core.so

# ---- The rest ---------------------------------------------------------------

clean:
	rm -rf build

help:
	sed -n 's/^#: \{0,1\}//p' Makefile

#: make            build the core, the Lua module, the demo server, examples
#: make demo       install what is missing (root, Debian), build, run the demo
#: make demo-dialects   the same for the platforms' samples, examples/dialects
#: make test       install what is missing, build, run all specs and C tests
#: make test SPEC=spec/request_spec.lua     one spec file (or several)
#: make stress     the stress specs in full (or those that SPEC= names)
#: make cache-suite   http-cache-tests of cache-tests.fyi, fetched from npm
#: make bench      measure, against peers
#: make lint       clang-format, clang-tidy, luacheck
#: make format     apply clang-format
#: make fuzz       each fuzz target for FUZZ_SECONDS (60)
#: make ci         all that CI runs
#: make core | module | server | examples | ctests     build one part
#: make install-deps                        packages for everything
#: make clean
#:
#: LUA=5.1|5.2|5.3|5.4|jit   which Lua (5.4)
#: SANITIZE=address|thread   in build/asan, build/tsan
#: CC=gcc|clang  CFLAGS=...  WERROR=1  BUILD=folder  V=1 (commands)
#: CURL_DIR= UV_DIR= SQLITE_DIR= JANSSON_DIR=   libraries outside of pkg-config
#: DEPS=skip                 install and check no packages
#: CTESTS=skip               only the specs: C tests do not depend on LUA
