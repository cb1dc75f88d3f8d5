// A packed file appears under its name whole or not at all, whatever ends the conversion.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <functional>
#include <span>

#include "converter/convert.h"
#include "converter/output_file.h"
#include "engine/verify_vectors.h"
#include "octobert/converter.h"
#include "octobert/engine.h"
#include "octobert/error.h"
#include "tests/errors.h"
#include "tests/shared_data.h"
#include "tests/temporary_folder.h"
#include "tests/tiny_checkpoint.h"

namespace octobert::converter {
namespace {

using test::error_of;
using test::holds;
using test::TemporaryFolder;
using test::TinyCheckpoint;

std::vector<std::string> files_of(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

TEST(HalfWritten, WhereNothingCanBeWritten) {
  const TemporaryFolder folder;
  TinyCheckpoint().write(folder.path());
  const std::vector<std::string> before = files_of(folder.path());
  const auto refused = [&](const std::filesystem::path& output) {
    const std::string message = error_of([&] { convert(folder.path(), output); }, ErrorCode::kIo);
    EXPECT_TRUE(holds(message, output.string())) << message;
    EXPECT_EQ(files_of(folder.path()), before);
  };
  refused(folder / "absent" / "m.octo");
  refused(folder / "config.json" / "m.octo");  // a file, not a folder
  refused("/proc/m.octo");                     // not writable for root either
  refused(folder.path());                      // the final name is a folder
}

// A device or a pipe would lose its name to the file: for root even /dev/null.
TEST(HalfWritten, WhatIsNoFileStaysWhatItIs) {
  const TemporaryFolder folder;
  TinyCheckpoint().write(folder.path());
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  std::filesystem::create_symlink("pipe", folder / "link");
  const std::vector<std::string> before = files_of(folder.path());
  for (const char* name : {"pipe", "link"}) {
    const std::string message = error_of([&] { convert(folder.path(), folder / name); }, ErrorCode::kIo);
    EXPECT_TRUE(holds(message, "not a regular file")) << message;
    EXPECT_EQ(std::filesystem::status(folder / name).type(), std::filesystem::file_type::fifo);
    EXPECT_EQ(files_of(folder.path()), before);
  }
}

// Runs action in a child process, which must end as expected.
void in_child(const std::function<void()>& action, const std::function<bool(int status)>& expected) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    action();
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(expected(status)) << "status " << status;
}

TEST(HalfWritten, DiskFull) {
  const TemporaryFolder folder;
  TinyCheckpoint().write(folder.path());
  ConvertOptions options;
  options.scheme = "float";
  convert(folder.path(), folder / "m.octo", options);
  const std::string before = test::read_file(folder / "m.octo");
  const std::vector<std::string> files = files_of(folder.path());
  for (const rlim_t limit : {rlim_t{0}, rlim_t{100}, rlim_t{4096}, static_cast<rlim_t>(before.size() / 2)}) {
    in_child(
        [&] {
          ::signal(SIGXFSZ, SIG_IGN);  // so that writes past the limit fail, as on a full disk
          const rlimit sizes{limit, limit};
          if (::setrlimit(RLIMIT_FSIZE, &sizes) != 0) ::_exit(1);
          try {
            convert(folder.path(), folder / "m.octo");
          } catch (const Error& e) {
            ::_exit(e.code() == ErrorCode::kIo && holds(e.what(), "m.octo") ? 42 : 2);
          }
          ::_exit(3);
        },
        [](int status) { return WIFEXITED(status) && WEXITSTATUS(status) == 42; });
    EXPECT_EQ(files_of(folder.path()), files);
    EXPECT_EQ(test::read_file(folder / "m.octo"), before);  // the old file is as it was
  }
}

bool has_nameless_files(const std::filesystem::path& folder) {
  const int descriptor = ::open(folder.c_str(), O_WRONLY | O_TMPFILE, 0666);
  if (descriptor >= 0) ::close(descriptor);
  return descriptor >= 0;
}

TEST(HalfWritten, Killed) {
  const TemporaryFolder folder;
  TinyCheckpoint().write(folder.path());
  const std::vector<std::string> before = files_of(folder.path());
  for (const char* moment : {"read embeddings", "write embeddings", "write layer 0", "check layer 1", "write report"}) {
    in_child(
        [&] {
          ConvertOptions options;
          options.progress = [moment](const ConvertProgress& progress) {
            if (std::string(progress.stage) + " " + std::string(progress.item) == moment) ::raise(SIGKILL);
          };
          convert(folder.path(), folder / "m.octo", options);
        },
        [](int status) { return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL; });
    EXPECT_FALSE(std::filesystem::exists(folder / "m.octo")) << moment;
  }
  if (has_nameless_files(folder.path())) {
    EXPECT_EQ(files_of(folder.path()), before);
  }
  // What the killed left behind elsewhere does not disturb the next one.
  convert(folder.path(), folder / "m.octo");
  EXPECT_TRUE(verify_vectors(Engine::open(folder / "m.octo")).mismatches.empty());
}

// Two files that belong together: the second can't be written after all.
TEST(HalfWritten, BothOrNeither) {
  const TemporaryFolder folder;
  const auto write_both = [&](const std::string& bytes, const std::function<void()>& meanwhile) {
    OutputFile first(folder / "first"), second(folder / "second");
    first.append(std::as_bytes(std::span(bytes)));
    second.append(std::as_bytes(std::span(bytes)));
    meanwhile();
    OutputFile::commit_both(first, second);
  };
  const auto a_folder = [&folder](const char* name) {
    std::filesystem::remove(folder / name);
    std::filesystem::create_directory(folder / name);
  };
  const auto refused = [&](const char* name) {
    const std::string message = error_of([&] { write_both("new", [&] { a_folder(name); }); }, ErrorCode::kIo);
    EXPECT_TRUE(holds(message, (folder / name).string())) << message;
  };
  refused("second");
  EXPECT_EQ(files_of(folder.path()), std::vector<std::string>{"second"});
  std::filesystem::remove(folder / "second");
  write_both("old", [] {});
  EXPECT_EQ(files_of(folder.path()), (std::vector<std::string>{"first", "second"}));
  refused("second");
  EXPECT_EQ(files_of(folder.path()), (std::vector<std::string>{"first", "second"}));
  EXPECT_EQ(test::read_file(folder / "first"), "old");
  std::filesystem::remove(folder / "second");
  write_both("newer", [] {});
  EXPECT_EQ(files_of(folder.path()), (std::vector<std::string>{"first", "second"}));
  for (const char* name : {"first", "second"}) EXPECT_EQ(test::read_file(folder / name), "newer");
  refused("first");
  EXPECT_EQ(files_of(folder.path()), (std::vector<std::string>{"first", "second"}));
  EXPECT_EQ(test::read_file(folder / "second"), "newer");
}

TEST(HalfWritten, ProgressThatThrows) {
  const TemporaryFolder folder;
  TinyCheckpoint().write(folder.path());
  const std::vector<std::string> before = files_of(folder.path());
  ConvertOptions options;
  options.progress = [](const ConvertProgress& progress) {
    if (progress.item == "layer 1") throw std::runtime_error("enough");
  };
  EXPECT_THROW(convert(folder.path(), folder / "m.octo", options), std::runtime_error);
  EXPECT_EQ(files_of(folder.path()), before);
}

}  // namespace
}  // namespace octobert::converter
