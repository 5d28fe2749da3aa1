# Copyright The Copse Authors
# SPDX-License-Identifier: Apache-2.0
#
# Turns dpkg's status file into an SPDX 2.3 document (https://spdx.github.io/spdx-spec/v2.3/).
# Variables: name and version, of the image. There is no date in it: the same packages give the
# same document.

function quoted(text) {
    gsub(/\\/, "\\\\&", text)
    gsub(/"/, "\\\"", text)
    gsub(/[\001-\037]/, " ", text)
    return "\"" text "\""
}

# Characters that a package URL or an SPDX identifier does not take as they are.
function escaped(text) {
    gsub(/%/, "%25", text)
    gsub(/\+/, "%2B", text)
    gsub(/:/, "%3A", text)
    gsub(/~/, "%7E", text)
    return text
}

function identifier(text) {
    gsub(/[^A-Za-z0-9.-]/, "-", text)
    return "SPDXRef-Package-" text
}

function package_ends(   id) {
    if (package != "" && status ~ / installed$/) {
        id = identifier(package "-" architecture)
        packages = packages (packages == "" ? "" : ",\n") \
            "    {\"SPDXID\": " quoted(id) ", \"name\": " quoted(package) ", \"versionInfo\": " quoted(release) \
            ", \"supplier\": " (maintainer == "" ? "\"NOASSERTION\"" : quoted("Organization: " maintainer)) \
            ", \"downloadLocation\": \"NOASSERTION\", \"filesAnalyzed\": false" \
            ", \"sourceInfo\": " quoted("built from " (source == "" ? package : source)) \
            ", \"licenseConcluded\": \"NOASSERTION\", \"licenseDeclared\": \"NOASSERTION\", \"copyrightText\": \"NOASSERTION\"" \
            ", \"externalRefs\": [{\"referenceCategory\": \"PACKAGE-MANAGER\", \"referenceType\": \"purl\", \"referenceLocator\": " \
            quoted("pkg:deb/debian/" escaped(package) "@" escaped(release) "?arch=" architecture) "}]}"
        relations = relations (relations == "" ? "" : ",\n") \
            "    {\"spdxElementId\": \"SPDXRef-DOCUMENT\", \"relationshipType\": \"DESCRIBES\", \"relatedSpdxElement\": " quoted(id) "}"
    }
    package = release = architecture = source = status = maintainer = ""
}

/^Package: /      { package = substr($0, 10) }
/^Version: /      { release = substr($0, 10) }
/^Architecture: / { architecture = substr($0, 15) }
/^Source: /       { source = substr($0, 9) }
/^Status: /       { status = substr($0, 9) }
/^Maintainer: /   { maintainer = substr($0, 13) }
/^$/              { package_ends() }

END {
    package_ends()
    print "{"
    print "  \"spdxVersion\": \"SPDX-2.3\", \"dataLicense\": \"CC0-1.0\", \"SPDXID\": \"SPDXRef-DOCUMENT\","
    print "  \"name\": " quoted(name "-" version) ", \"documentNamespace\": " quoted("urn:copse:sbom:" name ":" version) ","
    print "  \"creationInfo\": {\"created\": \"1970-01-01T00:00:00Z\", \"creators\": [\"Tool: copse\"]},"
    print "  \"packages\": [\n" packages "\n  ],"
    print "  \"relationships\": [\n" relations "\n  ]"
    print "}"
}
