# The Homebrew formula of baton-retool, for your own tap:
#
#   brew tap-new example/baton
#   cp packaging/homebrew/baton-retool.rb "$(brew --repository example/baton)/Formula/"
#   brew install --HEAD example/baton/baton-retool
#
# There is no release yet, so the formula builds the branch `main`. scripts/check-chart compares it with Cargo.toml.
class BatonRetool < Formula
  desc "Baton connector for self-hosted Retool"
  homepage "https://github.com/conductorone/baton-retool"
  license "Apache-2.0"
  head "https://github.com/conductorone/baton-retool.git", branch: "main"

  depends_on "rust" => :build

  def install
    system "cargo", "install", *std_cargo_args
    generate_completions_from_executable(bin/"baton-retool", "completion")
    system bin/"baton-retool", "man", "--directory", "man"
    man1.install Dir["man/*.1"]
  end

  test do
    assert_match "baton-retool", shell_output("#{bin}/baton-retool --version")
    ENV.delete("BATON_CONNECTION_STRING")
    assert_match "connection-string", shell_output("#{bin}/baton-retool doctor 2>&1", 2)
  end
end
