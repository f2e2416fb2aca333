import ControlTestSupport
import Foundation
import Testing

/// The library's documentation: it builds without a warning, and what it shows is compiled.
@Suite struct DocumentationTests {
    /// Every block of Swift in the documentation stands in a source of this package, line by line, but for the margin.
    @Test func snippetsAreOfSourcesThatCompile() throws {
        let sources = try Self.files(in: ["examples", "Sources", "Tests"], withSuffix: ".swift").map {
            Self.trimmed(try String(contentsOf: $0, encoding: .utf8)).joined(separator: "\n")
        }
        var count = 0
        for page in try Self.files(
            in: ["docs", "Sources", "README.md", "CONTRIBUTING.md", "Benchmarks"], withSuffix: ".md")
        {
            for snippet in Self.snippets(of: try String(contentsOf: page, encoding: .utf8)) {
                count += 1
                let text = "\n" + snippet.joined(separator: "\n") + "\n"
                #expect(
                    sources.contains { ("\n" + $0 + "\n").contains(text) },
                    "\(page.lastPathComponent) shows what no source has:\(text)")
            }
        }
        #expect(count >= 10)
    }

    /// Who builds on the package can import every module that the guides name.
    @Test func guidesNameModulesOfProducts() throws {
        let libraries = try Self.manifest().matches(of: /\.library\(\s*name: "([^"]+)",\s*targets: \[([^\]]*)\]/)
        let products = Set(libraries.map { String($0.output.1) })
        let modules = Set(libraries.flatMap { Self.quoted($0.output.2) })
        var count = 0
        for page in try Self.files(
            in: ["Sources/ExpertParallelism/ExpertParallelism.docc", "README.md"], withSuffix: ".md")
        {
            let text = try String(contentsOf: page, encoding: .utf8)
            for match in text.matches(of: /\.product\(name: "([^"]+)", package: "moe"\)/) {
                count += 1
                #expect(products.contains(String(match.output.1)), "\(page.lastPathComponent): \(match.output.0)")
            }
            for match in text.matches(of: /(?:\nimport |module `)([A-Za-z]+)/) {
                count += 1
                #expect(modules.contains(String(match.output.1)), "\(page.lastPathComponent): \(match.output.1)")
            }
        }
        #expect(count >= 8)
    }

    /// The table of targets says what each is built with.
    @Test func theArchitectureNamesWhatTargetsImport() throws {
        var dependencies = [String: Set<String>]()
        for target in try Self.manifest().split(separator: /\.(?:executableTarget|systemLibrary|testTarget|target)\(/) {
            guard let name = target.firstMatch(of: /name: "([^"]+)"/)?.output.1 else { continue }
            let own = target.replacing(/\.product\([^)]*\)/, with: "")
                .firstMatch(of: /dependencies: \[([^\]]*)\]/)?.output.1
            dependencies[String(name)] = Self.quoted(own ?? "")
        }
        let page = try String(contentsOf: Repository.root.appending(path: "docs/architecture.md"), encoding: .utf8)
        var count = 0
        for row in page.matches(of: /\n\| `([A-Za-z]+)` \|[^\n|]*\|([^\n|]*)\|/) {
            count += 1
            let words = Set(row.output.2.matches(of: /[A-Za-z]+/).map { String($0.output) })
            let named = words.intersection(dependencies.keys)
            #expect(named == dependencies[String(row.output.1)], "\(row.output.1)")
        }
        #expect(count >= 20)
    }

    private static func manifest() throws -> String {
        try String(contentsOf: Repository.root.appending(path: "Package.swift"), encoding: .utf8)
    }

    /// The strings of a list.
    private static func quoted(_ list: Substring) -> Set<String> {
        Set(list.matches(of: /"([^"]+)"/).map { String($0.output.1) })
    }

    /// A warning, such as a link to a symbol that is gone, is an error.
    @Test func docCMakesPages() throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "documentation-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: folder) }
        let tests = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        let modules = URL(fileURLWithPath: tests).deletingLastPathComponent().appending(path: "Modules").path
        let made = try ShellCommand(
            ["sh", Repository.root.appending(path: "deploy/documentation.sh").path, modules, folder.path])
        #expect(made.status == 0, "\(made.output)")
        for page in ["parallelizingyourmodel", "writinganallocator", "writingadispatcher", "moeoptimizer"] {
            let path = folder.appending(path: "data/documentation/expertparallelism/\(page).json").path
            #expect(FileManager.default.fileExists(atPath: path), "no page \(page)")
        }
    }

    @Test func aModelOfOnesOwnLearnsTheSameOnFourRanks() throws {
        let run = try Self.run("parallelize-model")
        #expect(run.output.contains("moved "), "\(run.output)")
        #expect(run.output.hasSuffix("the losses are those of one process\n"), "\(run.output)")
    }

    @Test func anAllocatorOfOnesOwnEvensRanksOut() throws {
        let output = try Self.run("custom-allocator").output
        let pattern = /interval (\d+): busiest rank ([\d.]+) × the mean before, ([\d.]+) after/
        let lines = output.matches(of: pattern).compactMap { match in
            Double(match.2).flatMap { before in Double(match.3).map { (before, $0) } }
        }
        #expect(lines.count == 6, "\(output)")
        #expect(lines.allSatisfy { $0.1 <= $0.0 }, "\(output)")
        #expect(lines.contains { $0.1 < $0.0 }, "\(output)")
    }

    @Test func aDispatcherOfOnesOwnKeepsRowsOnTheirNode() throws {
        let output = try Self.run("custom-dispatcher").output
        #expect(output.contains("with NodeLocalDispatcher 0 rows cross to the other node"), "\(output)")
        #expect(output.hasSuffix("the results are the same\n"), "\(output)")
    }

    private static func run(_ example: String) throws -> ShellCommand {
        let tests = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        let program = URL(fileURLWithPath: tests).deletingLastPathComponent().appending(path: example).path
        let run = try ShellCommand([program])
        #expect(run.status == 0, "\(run.output)")
        return run
    }

    private static func files(in paths: [String], withSuffix suffix: String) throws -> [URL] {
        try paths.flatMap { path -> [URL] in
            let root = Repository.root.appending(path: path)
            if path.hasSuffix(suffix) { return [root] }
            return try FileManager.default.subpathsOfDirectory(atPath: root.path).filter { $0.hasSuffix(suffix) }
                .map { root.appending(path: $0) }
        }
    }

    /// Lines between fences, without their margins.
    private static func snippets(of page: String) -> [[String]] {
        var snippets = [[String]]()
        var current: [String]?
        for line in trimmed(page) {
            if line == "```swift" {
                current = []
            } else if line == "```", let snippet = current {
                snippets.append(snippet)
                current = nil
            } else {
                current?.append(line)
            }
        }
        return snippets
    }

    private static func trimmed(_ text: String) -> [String] {
        text.split(separator: "\n", omittingEmptySubsequences: false).map { $0.trimmingCharacters(in: .whitespaces) }
    }
}
