import Foundation

/// The memory that the ranks of a node may share.
package enum MemoryLimit {
    /// Bytes that this process may use at most: its control group's limit, or else the machine's memory.
    /// - Returns: nil where neither is known.
    package static func bytes(files: String = "/") -> Int? {
        let machine = text(files + "proc/meminfo").flatMap { text in
            text.split(separator: "\n").first { $0.hasPrefix("MemTotal:") }
                .flatMap { $0.split(separator: " ").dropFirst().first }.flatMap { Int($0) }
                .map { $0 * 1024 }
        }
        // hierarchy:controllers:path (cgroups(7)); version 2 is hierarchy 0 and names no controllers.
        let groups = (text(files + "proc/self/cgroup") ?? "").split(separator: "\n").map {
            $0.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
        }
        func limits(_ folder: String, _ name: String, _ isMeant: ([Substring]) -> Bool) -> [Int] {
            let group = groups.first { $0.count == 3 && isMeant($0) }?[2].split(separator: "/") ?? []
            // Each group on the way up may have a limit.
            return (0...group.count).compactMap { depth in
                let path = group.prefix(depth).map { $0 + "/" }.joined()
                return text(files + "sys/fs/cgroup/" + folder + path + name).flatMap { Int($0) }
            }
        }
        let all =
            limits("", "memory.max") { $0[0] == "0" && $0[1].isEmpty }
            + limits("memory/", "memory.limit_in_bytes") { $0[1].split(separator: ",").contains("memory") }
        return (all + [machine].compactMap { $0 }).min()
    }

    private static func text(_ path: String) -> String? {
        (try? String(contentsOfFile: path, encoding: .utf8))?.trimmingCharacters(in: .whitespacesAndNewlines)
    }
}
