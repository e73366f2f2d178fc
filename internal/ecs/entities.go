package ecs

import (
	"html"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// entityNames are the named entities of HTML 4. Later ones, such as &apos;, are
// left as they are where Prefect decodes a text, and so they are here.
const entityNames = " AElig Aacute Acirc Agrave Alpha Aring Atilde Auml Beta Ccedil Chi Dagger Delta ETH Eacute Ecirc Egrave Epsilon Eta Euml Gamma Iacute Icirc" +
	" Igrave Iota Iuml Kappa Lambda Mu Ntilde Nu OElig Oacute Ocirc Ograve Omega Omicron Oslash Otilde Ouml Phi Pi Prime Psi Rho Scaron Sigma" +
	" THORN Tau Theta Uacute Ucirc Ugrave Upsilon Uuml Xi Yacute Yuml Zeta aacute acirc acute aelig agrave alefsym alpha amp and ang aring asymp" +
	" atilde auml bdquo beta brvbar bull cap ccedil cedil cent chi circ clubs cong copy crarr cup curren dArr dagger darr deg delta diams divide" +
	" eacute ecirc egrave empty emsp ensp epsilon equiv eta eth euml euro exist fnof forall frac12 frac14 frac34 frasl gamma ge gt hArr harr" +
	" hearts hellip iacute icirc iexcl igrave image infin int iota iquest isin iuml kappa lArr lambda lang laquo larr lceil ldquo le lfloor" +
	" lowast loz lrm lsaquo lsquo lt macr mdash micro middot minus mu nabla nbsp ndash ne ni not notin nsub ntilde nu oacute ocirc oelig ograve" +
	" oline omega omicron oplus or ordf ordm oslash otilde otimes ouml para part permil perp phi pi piv plusmn pound prime prod prop psi quot" +
	" rArr radic rang raquo rarr rceil rdquo real reg rfloor rho rlm rsaquo rsquo sbquo scaron sdot sect shy sigma sigmaf sim spades sub sube sum" +
	" sup sup1 sup2 sup3 supe szlig tau there4 theta thetasym thinsp thorn tilde times trade uArr uacute uarr ucirc ugrave uml upsih upsilon uuml" +
	" weierp xi yacute yen yuml zeta zwj zwnj" + " "

var (
	namedEntity   = regexp.MustCompile(`&[a-zA-Z][a-zA-Z0-9]*;`)
	decimalEntity = regexp.MustCompile(`&#[0-9]+;`)
	hexEntity     = regexp.MustCompile(`&#x[0-9a-fA-F]+;`)
)

// decodeEntities decodes HTML entities kind by kind: what one kind leaves may be
// one of the next.
func decodeEntities(s string) string {
	if !strings.Contains(s, "&") {
		return s
	}
	s = namedEntity.ReplaceAllStringFunc(s, func(entity string) string {
		if strings.Contains(entityNames, " "+entity[1:len(entity)-1]+" ") {
			return html.UnescapeString(entity)
		}
		return entity
	})
	s = decodeNumbers(s, decimalEntity, "&#", 10)
	return decodeNumbers(s, hexEntity, "&#x", 16)
}

// decodeNumbers decodes the numeric entities of one kind: all of them, or none
// when one is beyond Unicode.
func decodeNumbers(s string, kind *regexp.Regexp, prefix string, base int) string {
	beyond := false
	decoded := kind.ReplaceAllStringFunc(s, func(entity string) string {
		n, err := strconv.ParseInt(entity[len(prefix):len(entity)-1], base, 32)
		if err != nil || n > utf8.MaxRune {
			beyond = true
			return entity
		}
		return string(rune(n))
	})
	if beyond {
		return s
	}
	return decoded
}
